"""Operations of a round, pass by pass, with the prompt shared and repeated; and the hours that they take at best.

It knows nothing of memory or of how numbers are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from tracer1.models.costs import Flops, cache_bytes, count_parameters, forward_flops, update_flops
from tracer1.training.dry_run.devices import Assumed
from tracer1.training.dry_run.workload import Workload


@dataclass(frozen=True, slots=True)
class Pass:
    """One line: operations of one round over all ranks."""

    name: str
    shared: float  # the prompt encoded once for its responses
    repeated: float  # once for each
    note: str = ""


def plan_work(load: Workload, config: Mapping[str, Any]) -> list[Pass]:
    """Of typical groups. The embedded engine and vLLM share the prompt whatever the training passes do."""
    prompts = load.units.prompts_per_round
    once, each = (forward_flops(load.shape, load.typical, shared) for shared in (True, False))
    if not load.grpo:
        return [_scaled(_update(load, once, each), prompts)]
    algorithm = config["algorithm"]
    passes = [_sampling(once, each, config)]
    if load.frozen_vision:
        passes.append(Pass("vision tower", once.vision, once.vision, "frozen: once a round for the passes below"))
    seen = (once.total - once.vision, each.total - each.vision) if load.frozen_vision else (once.total, each.total)
    part, note = old_share(algorithm.get("old_logprobs", "recompute"), load.units.updates_per_round)
    passes.append(Pass("old log-probs", part * seen[0], part * seen[1], note))
    if algorithm["kl_coef"]:
        passes.append(Pass("reference", *seen))
    else:
        passes.append(Pass("reference", 0, 0, "none: algorithm.kl_coef=0"))
    passes.append(_update(load, once, each))
    return [_scaled(one, prompts) for one in passes]


def _sampling(once: Flops, each: Flops, config: Mapping[str, Any]) -> Pass:
    engine, again = config["engine"].get("name"), config["algorithm"]["dynamic_sampling"]
    if engine == "recorded":
        return Pass("sampling", 0, 0, "none: engine=recorded replays")
    where = "" if engine in ("transformers", "vllm") else f", by engine={engine}"
    drawn = f"; up to {again['max_draws']} times with dynamic_sampling" if again else ""
    return Pass("sampling", once.total, each.total, f"prefill and decoding{where}{drawn}")


def old_share(how: str, updates: int) -> tuple[float, str]:
    """Which part of a round's groups the pass sees."""
    if how == "engine":
        return 0.0, "the sampler's"
    if how == "first_update_on_policy":
        return 1 - 1 / updates, f"of {updates - 1} in {updates} updates"
    return 1.0, ""


def _update(load: Workload, once: Flops, each: Flops) -> Pass:
    how = {
        "adapters_only": load.options.lora is not None,
        "frozen_vision": load.frozen_vision,
        "recompute": load.options.gradient_checkpointing,
    }
    note = "forward, recomputation, backward" if load.options.gradient_checkpointing else "forward, backward"
    return Pass("update", update_flops(once, **how), update_flops(each, **how), note)


def _scaled(one: Pass, prompts: int) -> Pass:
    return Pass(one.name, one.shared * prompts, one.repeated * prompts, one.note)


# --- time --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hours:
    """Of one round, in seconds, under what is assumed."""

    sampling: float
    passes: float

    @property
    def total(self) -> float:
        return self.sampling + self.passes


def peak_flops(load: Workload) -> float:
    """Operations per second of all devices in the type that products are computed in."""
    device = load.assumed.device
    return (device.bf16 if load.precision.compute == 2 else device.fp32) * load.units.ranks


def plan_hours(load: Workload, config: Mapping[str, Any], passes: list[Pass]) -> Hours:
    """Passes at the assumed share of the device's operations, decoding at that of its bandwidth; whichever is slower."""
    speed = peak_flops(load) * load.assumed.mfu
    work = {one.name: one.shared if load.shared else one.repeated for one in passes}
    own = config["engine"].get("name") in ("transformers", "vllm")
    sampled = next((one.shared for one in passes if one.name == "sampling" and own), 0.0)
    decoding = decode_seconds(load, config["engine"], load.assumed) if load.grpo else 0.0
    rest = sum(operations for name, operations in work.items() if name != "sampling")
    return Hours(max(sampled / speed, decoding), rest / speed)


def decode_seconds(load: Workload, engine: Mapping[str, Any], assumed: Assumed) -> float:
    """Every step reads all weights and the keys and values of all responses under way; 0 where another machine samples."""
    name, group = engine.get("name"), load.typical
    if name not in ("transformers", "vllm"):
        return 0.0
    size, parts = load.precision.compute, engine.get("tensor_parallel_size", 1)
    weights = count_parameters(load.shape).total * size / parts
    each = cache_bytes(load.shape.text, size) * (group.prompt + group.response / 2) / parts
    responses = load.units.prompts_per_rank * parts * group.size  # of all ranks that share the weights
    if name == "transformers":
        rows = min(engine["prompts_per_batch"] * group.size, responses)
    else:
        room = assumed.device.memory * engine["gpu_memory"] - weights
        rows = max(1, min(responses, int(room / each)))
    batches = ceil(responses / rows)
    return (batches * weights + responses * each) * group.response / (assumed.device.bandwidth * assumed.bandwidth)
