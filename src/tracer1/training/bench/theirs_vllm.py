"""What TRL's colocated vLLM needs to do the work of ours, and the settings with which it does it fastest.

TRL 1.16 is written for GPU builds of vLLM up to 0.31. Adapted are: the prompt's image tokens, which vLLM would otherwise put in
a second time; on a CPU also how weights are pushed, and arguments of `vllm.LLM` that GRPOConfig has no name for. `try_push`
proves the push before a step is measured. It knows nothing of clocks.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any

import torch

from tracer1.engines._vllm_build import import_vllm, undisturbed
from tracer1.engines._vllm_sync import SyncCheck, retie_head
from tracer1.training.bench.cases import Case
from tracer1.training.bench.ours import MODEL_LENGTH


def settings(image_token: int) -> dict[str, Any]:
    """GRPOConfig's arguments for vLLM, each for a reason. They come over those of `theirs.settings`."""
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",  # in the training process, as ours
        "vllm_max_model_length": MODEL_LENGTH,  # as ours
        "vllm_gpu_memory_utilization": 0.5,  # as ours; on a CPU `engine_arguments` says how much
        "generation_kwargs": {
            "ignore_eos": True,  # no response ends early; cheaper than min_tokens, which masks logits
            # TRL takes a response with an image token for one with a picture and fails. With transformers it suppresses that
            # token itself, with vLLM it does not, and random weights do draw it
            "logit_bias": {image_token: -100.0},
            "detokenize": False,  # nobody reads vLLM's text: TRL decodes for itself; ours is off, too
        },
        # TRL's default is True: a pass of the policy for old log-probs more. `tracer1` makes none, either
        "vllm_importance_sampling_correction": False,
    }


def engine_arguments(case: Case) -> dict[str, Any]:
    """Arguments of vllm.LLM on a CPU that GRPOConfig has no name for. Compilation stays on, vLLM's and TRL's default."""
    return {
        "dtype": case.dtype,  # vLLM's "auto" turns a float32 checkpoint into bfloat16
        "kv_cache_memory_bytes": 2**30,  # as ours; else half of the machine's memory
        "block_size": 32,  # as ours; the CPU build's own 128 shares less of a prompt
        "limit_mm_per_prompt": {"image": 1, "video": 0},  # as ours
    }


def prepare(case: Case) -> None:
    """Lets TRL use this vLLM, with the adaptations of this file."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # TRL reaches for the model itself
    import_vllm()
    from trl.generation import vllm_generation
    from trl.trainer import grpo_trainer

    on_cpu = case.device == "cpu"

    class Adapted(vllm_generation.VLLMGeneration):
        def _init_vllm(self) -> None:
            with undisturbed():  # the CPU build takes torch.set_num_threads away: TRL trains on with the threads it had
                super()._init_vllm()

        def generate(self, prompts: list[list[int]], *arguments: Any, **named: Any) -> tuple[Any, ...]:
            """TRL's, with one token for each picture: that is what vLLM expects, and puts the picture's tokens in itself."""
            token = self.processing_class.image_token_id
            return super().generate([one_per_picture(ids, token) for ids in prompts], *arguments, **named)

        def sync_weights(self) -> None:
            """TRL's; on a CPU by reload_weights (all weights, in place): packed ones have no weight_loader for load_weights."""
            if not on_cpu:
                super().sync_weights()
                return
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": self._iter_named_params()})
            self.llm.apply_model(retie_head)
            engine = self.llm.llm_engine
            engine.reset_prefix_cache()
            engine.reset_mm_cache()
            engine.reset_encoder_cache()  # reload_weights has dropped the worker's half of it

    grpo_trainer.VLLMGeneration = Adapted
    if on_cpu:
        vllm_generation.LLM = functools.partial(vllm_generation.LLM, **engine_arguments(case))


def one_per_picture(token_ids: Sequence[int], image_token: int) -> list[int]:
    """The prompt with each run of image tokens as one of them."""
    before = [None, *token_ids]
    return [t for t, last in zip(token_ids, before, strict=False) if t != image_token or last != image_token]


def told(case: Case, trainer: Any) -> dict[str, Any]:
    """What was set beside GRPOConfig; on a CPU, after the push has been tried."""
    if case.device != "cpu":
        return {}
    try_push(trainer.vllm_generation)
    return {"vllm.LLM": engine_arguments(case)}


@torch.no_grad()
def try_push(generation: Any) -> None:
    """Pushes other weights, looks whether vLLM holds them, and pushes the real ones again: no step samples from old weights.

    Raises:
        EngineError: vLLM does not hold what was pushed.
    """
    parameters = list(generation.model.parameters())
    kept = [parameter.clone() for parameter in parameters]
    (check,) = generation.llm.apply_model(lambda model: SyncCheck(model, parameters[0].device, parameters[0].dtype))
    named = generation._iter_named_params
    generation._iter_named_params = lambda: check.watch(named())
    try:
        for change in (lambda: torch._foreach_add_(parameters, 0.125), lambda: torch._foreach_copy_(parameters, kept)):
            change()
            generation.sync_weights()
            check.verify()
    finally:
        generation._iter_named_params = named
