"""A separate `vllm serve` over HTTP: token ids and the trainer's own pixels in, token ids and log-probs out.

Weights go through a folder that trainer and server share (any device, any number of server GPUs): the trainer writes safetensors,
the server reloads from there, drops its caches and takes the push's version; every response names the version it was sampled
from, so a server that was restarted in between is noticed and brought up to date. Start it with its development routes:

    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --dtype bfloat16 --max-model-len 8192 --enable-scale-out --no-mm-device-do-normalize

(scale-out: the route that takes token ids and pixels; the pixels come normalised.)

It knows nothing about rewards, plans or steps.
"""

import hashlib
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from tracer1.engines import ENGINES
from tracer1.engines._patient_http import PatientServer, Refused
from tracer1.engines._server_wording import Wording
from tracer1.errors import EngineError
from tracer1.interfaces import Sampling
from tracer1.schema import Prompt, Response

# Qwen3-VL's names in vLLM 0.32
_PREFIXES = {
    "model.visual.": "visual.",
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
}
_GENERATE = "/inference/v1/generate"
_PUSHES = 3  # of one round: a server may be restarted while it samples


@ENGINES.register("vllm_server")
class VllmServerEngine:
    """Samples on a server.

    Args:
        url: Of the server.
        folder: Where weights are handed over; null takes a temporary one, which serves a server on this machine.
        concurrency: Requests under way at once.
        answer_s: The longest that one answer may take, in seconds.
        patience_s: How long the server may be away before the training stops, in seconds.
        bucket_mb: Size of one file of weights, in MiB.
        reload: The server's method that reads weights: vLLM's own, or `tracer1_reload` of `_vllm_worker.FullReload`, which a
            server on a CPU needs for a model with a tied head.
    """

    def __init__(
        self,
        url: str,
        folder: str | None = None,
        concurrency: int = 64,
        answer_s: float = 1800.0,
        patience_s: float = 600.0,
        bucket_mb: int = 1024,
        reload: str = "reload_weights",
    ) -> None:
        self.server = PatientServer(url, answer_s, patience_s)
        self.folder = Path(folder) if folder else Path(tempfile.gettempdir())
        self.concurrency, self.bucket_mb, self.reload = concurrency, bucket_mb, reload
        self.version = ""  # of the weights that the server should sample from
        self._comparable: frozenset[str] = frozenset()  # weights that the server holds as they were sent
        self._policy: Any = None

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        """While entered, `generate` answers with the current weights of `policy`.

        Raises:
            EngineError: the server is gone, refuses the weights, or holds other ones afterwards.
        """
        self._policy = policy
        try:
            self._push_once()
            yield
        finally:
            self._policy = None

    # --- weights ---------------------------------------------------------------------------------------------------------

    def _push_once(self) -> None:
        """Rank 0 pushes, the others wait for its verdict."""
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        verdict: list[Any] = [None, uuid.uuid4().hex]
        if not several or dist.get_rank() == 0:
            try:
                if not self.version:
                    self._check_server()
                self._push(verdict[1])
            except EngineError as error:
                verdict[0] = error
        if several:
            dist.broadcast_object_list(verdict)
        if verdict[0] is not None:
            raise verdict[0]
        self.version = verdict[1]

    def _push(self, version: str) -> None:
        folder = self.folder / f"tracer1-weights-{uuid.uuid4().hex}"
        try:
            digests = self._write(folder)
            where = {"weights_path": str(folder.absolute())}
            self._development("POST", "/collective_rpc", {"method": self.reload, "kwargs": where})
            if not self.server.call("POST", "/reset_prefix_cache")["success"]:
                raise EngineError(
                    f"The vLLM server at {self.server.url} kept its prefix cache after new weights: it has requests of somebody "
                    "else. A server under training serves one training."
                )
            self.server.call("POST", "/reset_mm_cache")
            self.server.call("POST", "/reset_encoder_cache")
            self.server.call("POST", "/update_weight_version", {"new_version": version})
            self._verify(digests)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _check_server(self) -> None:
        """Whether it was started in a way that serves: each of these would go wrong without a sound."""
        info = self._development("GET", "/server_info?config_format=json")["vllm_config"]
        model, device = info["model_config"], info["device_config"]["device"]
        backbone = self._policy.backbone.model
        problem = ""
        if model["dtype"] != str(backbone.dtype):
            problem = f"it computes in {model['dtype']}, the policy in {backbone.dtype}: start it with the --dtype of model.dtype"
        elif (model["multimodal_config"] or {}).get("mm_device_do_normalize"):
            problem = "it would normalise the pixels a second time: start it with --no-mm-device-do-normalize"
        elif device == "cpu" and info["scheduler_config"]["enable_chunked_prefill"]:
            problem = (
                "on a CPU it fails when it stops half-way through a prompt: start it with --no-enable-chunked-prefill"
            )
        elif device == "cpu" and backbone.config.tie_word_embeddings and self.reload == "reload_weights":
            problem = (
                "on a CPU it would keep its old output head: start it with --worker-extension-cls "
                "tracer1.engines._vllm_worker.FullReload and set engine.reload=tracer1_reload"
            )
        if problem:
            raise EngineError(f"The vLLM server at {self.server.url} cannot serve this training: {problem}.")

    def _development(self, method: str, path: str, body: Any = None) -> Any:
        """One of the routes that only a server in development mode has."""
        try:
            return self.server.call(method, path, body)
        except Refused as error:
            raise EngineError(f"{error} It must be started with VLLM_SERVER_DEV_MODE=1 to take weights.") from error

    def _write(self, folder: Path) -> dict[str, str]:
        """The weights as safetensors files of about `bucket_mb`; returns a digest of each under vLLM's name."""
        digests: dict[str, str] = {}
        bucket: dict[str, Tensor] = {}
        files = 0
        folder.mkdir(parents=True)
        for name, tensor in self._policy.weights():
            bucket[name] = tensor.detach().cpu().contiguous()
            digests[_name_in_vllm(name)] = hashlib.sha256(bucket[name].view(-1).view(torch.uint8).numpy()).hexdigest()
            if sum(held.nbytes for held in bucket.values()) >= self.bucket_mb * 2**20:
                save_file(bucket, folder / f"model-{files:05d}.safetensors")
                bucket, files = {}, files + 1
        if bucket:
            save_file(bucket, folder / f"model-{files:05d}.safetensors")
        return digests

    def _verify(self, digests: dict[str, str]) -> None:
        """The server's tensors against ours. It fuses and packs some; which it does not, the first push shows.

        Raises:
            EngineError: a tensor that can be compared differs, or hardly any can.
        """
        held = self.server.call("POST", "/weight_checker", {"action": "checksum"})["checksums"]
        same = {name for key, digest in held.items() if digests.get(name := key.rpartition(":")[2]) == digest}
        norms = {name for name in digests if name.endswith("norm.weight")}
        stale = sorted((self._comparable or norms) - same)
        if stale:
            raise EngineError(
                f"The vLLM server at {self.server.url} does not hold the weights that were pushed: {stale[0]} and {len(stale) - 1} "
                "more differ. Serve the same model with --dtype as model.dtype, without quantization and tensor parallelism of "
                "norms; engine.folder must be one that the server sees under the same path."
            )
        self._comparable = frozenset(same)

    # --- responses -------------------------------------------------------------------------------------------------------

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        """`len(seeds[b])` responses for prompt b, group-adjacent.

        Raises:
            EngineError: the server is gone for good, refuses a request, or forgets its weights again and again.
        """
        assert self._policy is not None, "generate() belongs inside `with engine.serving(policy):`"
        wording = Wording(self._policy, sampling)
        asked = [(b, i) for b, group in enumerate(seeds) for i in range(len(group))]
        got: dict[tuple[int, int], Response] = {}
        for _ in range(_PUSHES):
            left = [place for place in asked if place not in got]
            for place, answer in zip(left, self._ask_all(wording, prompts, seeds, left), strict=True):
                if all(span["version"] == self.version for span in answer.get("weight_versions") or ()):
                    got[place] = wording.response(prompts[place[0]], answer)
            if len(got) == len(asked):
                return [got[place] for place in asked]
            if self.server.call("GET", "/weight_info")["weight_version"] != self.version:  # nor has another rank pushed
                self._push(self.version)  # it was restarted, and answered from the weights that it started with
        raise EngineError(
            f"The vLLM server at {self.server.url} lost the pushed weights {_PUSHES} times in one round: something restarts it. See "
            "its log."
        )

    def _ask_all(
        self, wording: Wording, prompts: Sequence[Prompt], seeds: Sequence[Sequence[int]], places: list[tuple[int, int]]
    ) -> list[dict[str, Any]]:
        """The answers for places (prompt, response). A picture travels once: a first request of one token brings it and fills the
        prefix cache, the others only name it."""
        several = [b for b, count in Counter(b for b, _ in places).items() if count > 1]
        opened = [b for b in several if "pixel_values" in prompts[b].tensors]

        def open_group(b: int) -> None:
            self._ask(wording.body(prompts[b], seeds[b][0], max_tokens=1))

        def ask(place: tuple[int, int]) -> dict[str, Any]:
            prompt, seed = prompts[place[0]], seeds[place[0]][place[1]]
            if place[0] in opened:
                answer = self.server.once("POST", _GENERATE, wording.body(prompt, seed, pixels=False))
                if answer is not None:
                    return answer["choices"][0]
            return self._ask(wording.body(prompt, seed))

        self._side_by_side(open_group, opened)
        return self._side_by_side(ask, places)

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        return self.server.call("POST", _GENERATE, body)["choices"][0]

    def _side_by_side(self, run: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`run` of each, up to `concurrency` at once; after the first error no further one begins."""
        threads = ThreadPoolExecutor(self.concurrency)
        try:
            return list(threads.map(run, items))
        finally:
            threads.shutdown(cancel_futures=True)


def _name_in_vllm(name: str) -> str:
    for ours, theirs in _PREFIXES.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
