"""One `vllm serve`: how it must have been started, what follows new weights, and its answers. It knows no other server.

It does not know either how weights reach the server.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracer1.engines._patient_http import Gone, PatientServer, Refused
from tracer1.engines._server_wording import Wording
from tracer1.engines._side_by_side import side_by_side
from tracer1.errors import EngineError
from tracer1.schema import Prompt

_GENERATE = "/inference/v1/generate"
_CACHE_S = 30.0  # how long requests that are about to end may still hold the prefix cache

Place = tuple[int, int]  # a prompt, and which of its responses


class RemoteVllm:
    """A server and what is known of it.

    Args:
        http: How it is spoken to.
        concurrency: Requests under way at once.
    """

    def __init__(self, http: PatientServer, concurrency: int) -> None:
        self.http, self.concurrency = http, concurrency
        self.checked = False  # how it was started; whoever was away may have been started in another way
        self.away, self.why = False, ""
        self.mending = threading.Lock()  # one at a time brings it the weights it has lost
        self._comparable: frozenset[str] = frozenset()  # weights that the server holds as they were sent
        self._differed = False  # the last time that its weights were compared

    @property
    def url(self) -> str:
        """Where it is."""
        return self.http.url

    def leave(self, error: Gone) -> None:
        """It is not asked any more until it answers again, however it was started then."""
        self.away, self.why, self.checked, self._comparable = True, str(error), False, frozenset()

    # --- weights ---------------------------------------------------------------------------------------------------------

    def version(self) -> str:
        """Of the weights that it holds."""
        return self.http.call("GET", "/weight_info")["weight_version"]

    def development(self, method: str, path: str, body: Any = None) -> Any:
        """One of the routes that only a server in development mode has."""
        try:
            return self.http.call(method, path, body)
        except Refused as error:
            raise EngineError(f"{error} It must be started with VLLM_SERVER_DEV_MODE=1 to take weights.") from error

    def check(self, policy: Any, full_reload: bool) -> None:
        """Whether it was started in a way that serves: each of these would go wrong without a sound.

        Args:
            policy: Who is served.
            full_reload: Whether a tied head follows the weights even where vLLM's own reload leaves it.

        Raises:
            EngineError: it cannot serve the policy.
        """
        if self.checked:
            return
        info = self.development("GET", "/server_info?config_format=json")["vllm_config"]
        model, device = info["model_config"], info["device_config"]["device"]
        backbone = policy.backbone
        computes, tied = backbone.model.dtype, backbone.model.config.tie_word_embeddings
        problem = ""
        if model["dtype"] != str(computes):
            problem = (
                f"it computes in {model['dtype']}, the policy in {computes}: start it with the --dtype of model.dtype"
            )
        elif (model["multimodal_config"] or {}).get("mm_device_do_normalize"):
            problem = "it would normalise the pixels a second time: start it with --no-mm-device-do-normalize"
        elif device == "cpu" and info["scheduler_config"]["enable_chunked_prefill"]:
            problem = (
                "on a CPU it fails when it stops half-way through a prompt: start it with --no-enable-chunked-prefill"
            )
        elif device == "cpu" and tied and not full_reload:
            problem = (
                "on a CPU it would keep its old output head: start it with --worker-extension-cls "
                "tracer1.engines._vllm_worker.FullReload and set engine.reload=tracer1_reload"
            )
        if problem:
            raise EngineError(f"The vLLM server at {self.url} cannot serve this training: {problem}.")
        self.checked = True

    def settle(self, version: str, digests: Mapping[str, str], mended: bool = False) -> None:
        """After new weights: nothing that the old ones made may be found again, and what it holds must be what was sent.

        Args:
            version: What the weights are called from now on.
            digests: Of the tensors that were sent, under vLLM's names.
            mended: It had lost its weights while it was sampling: what is still under way, of any rank, is of no use.

        Raises:
            Gone: it holds other weights than were sent. It may have been restarted since, within the time that an answer is
                waited for, and gets them again.
            EngineError: it keeps something of the old weights; or it holds other weights twice in a row.
        """
        self._drop_prefixes(mended)
        self.http.call("POST", "/reset_mm_cache")
        self.http.call("POST", "/reset_encoder_cache")
        self.http.call("POST", "/update_weight_version", {"new_version": version})
        self._verify(digests)

    def _drop_prefixes(self, abort: bool) -> None:
        until = time.monotonic() + min(_CACHE_S, self.http.patience_s)
        while not self.http.call("POST", "/reset_prefix_cache")["success"]:
            if time.monotonic() > until:
                raise EngineError(
                    f"The vLLM server at {self.url} kept its prefix cache after new weights: it has requests of somebody "
                    "else. A server under training serves one training."
                )
            if abort:
                self.http.call("POST", "/abort_requests", {})
            time.sleep(0.1)

    def _verify(self, digests: Mapping[str, str]) -> None:
        """The server's tensors against ours. It fuses and packs some; which it does not, the first push shows.

        Raises:
            Gone: a tensor that can be compared differs, or hardly any can.
            EngineError: ... and did so the last time.
        """
        held = self.http.call("POST", "/weight_checker", {"action": "checksum"})["checksums"]
        same = {name for key, digest in held.items() if digests.get(name := key.rpartition(":")[2]) == digest}
        norms = {name for name in digests if name.endswith("norm.weight")}
        stale = sorted((self._comparable or norms) - same)
        if stale and not self._differed:
            self._differed = True
            raise Gone(
                f"The vLLM server at {self.url} does not hold the weights that were pushed; it may have been restarted."
            )
        if stale:
            raise EngineError(
                f"The vLLM server at {self.url} does not hold the weights that were pushed: {stale[0]} and {len(stale) - 1} "
                "more differ. Serve the same model with --dtype as model.dtype, without quantization and tensor parallelism of "
                "norms; engine.folder must be one that the server sees under the same path."
            )
        self._comparable, self._differed = frozenset(same), False

    # --- responses -------------------------------------------------------------------------------------------------------

    def answer(
        self,
        wording: Wording,
        prompts: Sequence[Prompt],
        seeds: Sequence[Sequence[int]],
        places: Sequence[Place],
        keep: Callable[[Place, dict[str, Any]], None],
    ) -> None:
        """Asks for some responses; `keep` gets each as it comes. A picture travels once: a first request of one token brings it
        and fills the prefix cache, the others only name it.

        Raises:
            Gone: it does not answer any more; what came before has been kept.
            Refused: a request that it does not take.
        """
        several = [b for b, count in Counter(b for b, _ in places).items() if count > 1]
        opened = [b for b in several if "pixel_values" in prompts[b].tensors]

        def open_group(b: int) -> None:
            self._ask(wording.body(prompts[b], seeds[b][0], max_tokens=1))

        def ask(place: Place) -> None:
            prompt, seed = prompts[place[0]], seeds[place[0]][place[1]]
            if place[0] in opened:
                answer = self.http.once("POST", _GENERATE, wording.body(prompt, seed, pixels=False))
                if answer is not None:
                    keep(place, answer["choices"][0])
                    return
            keep(place, self._ask(wording.body(prompt, seed)))

        side_by_side(open_group, opened, self.concurrency)
        side_by_side(ask, places, self.concurrency)

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        return self.http.call("POST", _GENERATE, body)["choices"][0]
