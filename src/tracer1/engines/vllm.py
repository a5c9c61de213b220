"""vLLM in the training process: the policy's weights are pushed into it in place, and it samples until it is put to sleep.

The n responses of a group are n requests with one seed each, over one prompt: vLLM's own n would draw them with seed, seed + 1, ...
and hand its scheduler the same n requests. The prompt is prefilled once, the others find its blocks in the prefix cache, and its
picture is encoded once. It knows nothing about rewards, plans or steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from tracer1.engines import ENGINES
from tracer1.engines._pictures import pictures
from tracer1.engines._vllm_build import build_llm
from tracer1.engines._vllm_sync import SyncCheck, in_buckets, retie_head
from tracer1.errors import ConfigError, EngineError
from tracer1.interfaces import Sampling
from tracer1.schema import Prompt, Response


@dataclass(frozen=True, slots=True)
class _Served:
    """What generating takes from the policy."""

    tokenizer: Any
    stop_ids: list[int]
    image_token: int
    merge_size: int


@ENGINES.register("vllm")
class VllmEngine:
    """Samples with vLLM 0.32, colocated. It is built when it is first served: a run that never samples never loads it.

    Args:
        max_model_len: The most tokens of a prompt and its response together.
        gpu_memory: Share of each GPU's memory that vLLM may take while it is awake.
        kv_cache_gb: Memory of the key-value cache in GiB; null lets vLLM fill `gpu_memory` (on a CPU: 1 GiB).
        tensor_parallel_size: Training processes that share one copy of the weights.
        bucket_mb: How much of the weights is brought to the engine at a time, in MiB.
        options: Further arguments of vllm.LLM, e.g. `{enforce_eager: true, block_size: 32}`.
    """

    apart = False

    def __init__(
        self,
        max_model_len: int = 8192,
        gpu_memory: float = 0.5,
        kv_cache_gb: float | None = None,
        tensor_parallel_size: int = 1,
        bucket_mb: int = 256,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.max_model_len, self.gpu_memory, self.kv_cache_gb = max_model_len, gpu_memory, kv_cache_gb
        self.tensor_parallel_size, self.bucket_mb, self.options = tensor_parallel_size, bucket_mb, dict(options or {})
        self._llm: Any = None
        self._sleeps = False  # on a GPU it gives its memory back between rounds
        self._check: SyncCheck
        self._served: _Served | None = None

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        """While entered, `generate` answers with the current weights of `policy`.

        Raises:
            ConfigError, EngineError, MissingDependency: vLLM does not start, or does not hold the weights after the push.
        """
        backbone = policy.backbone
        if self._llm is None:
            self._build(backbone)
        else:
            self._wake("weights")
        self._push(policy)
        self._wake("kv_cache")
        image_token, merge_size = backbone.model.config.image_token_id, backbone.image_processor.merge_size
        self._served = _Served(backbone.tokenizer, sorted(backbone.stop_ids), image_token, merge_size)
        try:
            yield
        finally:
            self._served = None
            if self._sleeps:
                self._llm.sleep(level=2)  # forgets weights and cache: both are pushed or computed anew

    def _build(self, backbone: Any) -> None:
        on_gpu = backbone.model.device.type == "cuda"
        kv_cache_gb = self.kv_cache_gb or (None if on_gpu else 1.0)
        settings = {
            "max_model_len": self.max_model_len,
            "gpu_memory_utilization": self.gpu_memory,
            "kv_cache_memory_bytes": kv_cache_gb and int(kv_cache_gb * 2**30),
            "enable_sleep_mode": on_gpu,
            "enforce_eager": not on_gpu,
            "enable_prefix_caching": True,
            "enable_chunked_prefill": on_gpu,  # vLLM 0.32 cannot rewind a CPU's seeded generator after half a prompt
            "max_num_batched_tokens": max(8192, self.max_model_len),
            "limit_mm_per_prompt": {"image": 1, "video": 0},
            "mm_processor_cache_gb": 0,  # pictures come ready-made
            "mm_device_do_normalize": False,  # and normalised
        }
        if not on_gpu:
            settings["block_size"] = 32  # the CPU build's own 128 would share next to nothing of a short prompt
        self._llm = build_llm(backbone, self.tensor_parallel_size, **{**settings, **self.options})
        self._sleeps = on_gpu
        (self._check,) = self._llm.apply_model(
            lambda model: SyncCheck(model, backbone.model.device, backbone.model.dtype)
        )

    def _wake(self, tag: str) -> None:
        if self._sleeps:
            self._llm.wake_up(tags=[tag])

    @torch.no_grad()
    def _push(self, policy: Any) -> None:
        """The weights, in place; then nothing that was computed with the old ones may be found again."""
        weights = in_buckets(policy.weights(), self.bucket_mb * 2**20, self._check.device, self._check.dtype)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": self._check.watch(weights)})
        retie_head(self._check.model)
        self._check.verify()
        engine = self._llm.llm_engine
        if not engine.reset_prefix_cache():
            raise EngineError(
                "vLLM kept its prefix cache after new weights: requests are still running. Start the run again."
            )
        engine.reset_mm_cache()
        engine.reset_encoder_cache()

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        """`len(seeds[b])` responses for prompt b, group-adjacent.

        Raises:
            ConfigError: a prompt with its response does not fit into `max_model_len`.
            EngineError: vLLM dropped a request.
        """
        assert self._served is not None, "generate() belongs inside `with engine.serving(policy):`"
        if self.tensor_parallel_size == 1:
            return self._run(prompts, sampling, seeds)
        return self._run_together(prompts, sampling, seeds)

    def _run_together(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]
    ) -> list[Response]:
        """Ranks that share a vLLM work through all their prompts in the same order; each keeps the answers to its own."""
        from vllm.distributed.parallel_state import get_tp_group

        group = get_tp_group()
        parts: list[Any] = [None] * group.world_size
        dist.all_gather_object(parts, (list(prompts), [list(g) for g in seeds]), group=group.cpu_group)
        responses = self._run([p for part in parts for p in part[0]], sampling, [g for part in parts for g in part[1]])
        counts = [sum(map(len, part[1])) for part in parts]
        start = sum(counts[: group.rank_in_group])
        return responses[start : start + counts[group.rank_in_group]]

    def _run(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        self._check_fits(prompts, sampling)
        engine, done = self._llm.llm_engine, {}
        for b, (prompt, group) in enumerate(zip(prompts, seeds, strict=True)):
            asked = engine_input(prompt, self._served)
            for i, seed in enumerate(group):
                engine.add_request(f"{b}/{i}", dict(asked), sampling_params(sampling, seed, self._served.stop_ids))
        while engine.has_unfinished_requests():
            done |= {output.request_id: output for output in engine.step() if output.finished}
        return [
            self._response(prompts[b], done[f"{b}/{i}"]) for b, group in enumerate(seeds) for i in range(len(group))
        ]

    def _check_fits(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        longest = max((len(prompt.token_ids) for prompt in prompts), default=0)
        if prompts and longest + sampling.max_tokens > self.max_model_len:
            raise ConfigError(
                f"A prompt has {longest} tokens and its response up to {sampling.max_tokens}, together more than "
                f"engine.max_model_len={self.max_model_len}. Raise it, or lower algorithm.sampling.max_tokens."
            )
        if sampling.temperature > 2:
            raise ConfigError(f"algorithm.sampling.temperature={sampling.temperature}: vLLM takes at most 2.")

    def _response(self, prompt: Prompt, output: Any) -> Response:
        (answer,) = output.outputs
        if answer.finish_reason not in ("stop", "length"):
            raise EngineError(
                f"vLLM gave up on a response to {prompt.key!r} ({answer.finish_reason}). Its log says why; with more "
                "engine.kv_cache_gb or less engine.options.max_num_seqs it has more room."
            )
        token_ids = tuple(answer.token_ids)
        logprobs = tuple(at[token].logprob for at, token in zip(answer.logprobs, token_ids, strict=True))
        text = self._served.tokenizer.decode(token_ids, skip_special_tokens=True)
        return Response(text, token_ids, logprobs, truncated=answer.finish_reason == "length")


def engine_input(prompt: Prompt, served: _Served) -> dict[str, Any]:
    """A prompt as vLLM takes it after its own processing: token ids, and the very pixels that the trainer reads."""
    from vllm.inputs.engine import mm_input, tokens_input
    from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems, PlaceholderRange

    found = pictures(prompt, served.image_token, served.merge_size)
    if not found:
        return tokens_input(list(prompt.token_ids))
    grids = prompt.tensors["image_grid_thw"]
    fields = {
        "pixel_values": MultiModalFieldConfig.flat_from_sizes("image", grids.prod(-1)),
        "image_grid_thw": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
    }
    return mm_input(
        list(prompt.token_ids),
        MultiModalKwargsItems.from_hf_inputs(prompt.tensors, fields),
        {"image": [picture.digest for picture in found]},
        {"image": [PlaceholderRange(offset=picture.offset, length=picture.length) for picture in found]},
    )


def sampling_params(sampling: Sampling, seed: int, stop_ids: list[int]) -> Any:
    """One response's settings; the log-probs are of the whole distribution at temperature 1, vLLM's default."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p if sampling.temperature > 0 else 1.0,
        max_tokens=sampling.max_tokens,
        seed=seed,
        logprobs=0,  # of the sampled token alone
        stop_token_ids=stop_ids,
        ignore_eos=True,  # the policy's stop tokens alone end a response
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
