"""Memory of one device, item by item: an estimate from sizes alone. What libraries, fragments and kernels take is not in it.

It knows nothing of time or of how numbers are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from tracer1.models.costs import FLOAT32, activations, cache_bytes, count_parameters, layer_weights, lora_parameters
from tracer1.training.dry_run.devices import GIB
from tracer1.training.dry_run.workload import BYTES, Workload

LOGITS_AT_A_TIME = 2**24  # numbers; as models/head.py has it, which loads torch
_LOGIT_BYTES = 16  # of each: itself, its exponential and two gradients in float32
_DRAW_BYTES = 36  # of each logit while a token is drawn: sorted, summed up in float64, with places


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the table."""

    name: str
    size: float  # bytes on the device
    note: str = ""
    when: str = "always"  # or `updating`, `sampling`, `referring` (the reference's pass)


@dataclass(frozen=True, slots=True)
class Memory:
    """All lines, and the peaks they make."""

    items: tuple[Item, ...]
    main: tuple[Item, ...] = ()  # in the machine's main memory, for each process

    def at(self, when: str) -> float:
        """The sum of what lies on the device while `updating`, `sampling` or `referring`."""
        return sum(item.size for item in self.items if item.when in ("always", when))

    @property
    def peak(self) -> float:
        return max(map(self.at, ("updating", "sampling", "referring")))


@dataclass(frozen=True, slots=True)
class Sharding:
    """Over how many devices a strategy spreads what, and what it adds."""

    weights: int = 1
    gradients: int = 1
    states: int = 1
    buckets: bool = False  # DDP's own copy of the gradients
    master: bool = False  # DeepSpeed's float32 weights and moments, whatever the model's type


def read_sharding(trainer: Mapping[str, Any], ranks: int) -> Sharding:
    """From `trainer.strategy`: a name, or a `_target_` with a stage."""
    strategy = trainer.get("strategy", "auto")
    options = strategy if isinstance(strategy, Mapping) else {}
    name = str(options.get("_target_", strategy)).lower()
    stage = next((int(digit) for digit in "321" if f"stage_{digit}" in name), int(options.get("stage", 2)))
    if "deepspeed" in name:
        return Sharding(ranks if stage > 2 else 1, ranks if stage > 1 else 1, ranks, master=True)
    if "fsdp" in name:
        return Sharding(ranks, ranks, ranks)
    return Sharding(buckets=ranks > 1)


def plan_memory(load: Workload, config: Mapping[str, Any]) -> Memory:
    """The items of a run, those of the largest micro-batch that the limits let through."""
    sharding = read_sharding(config["trainer"], load.units.ranks)
    items = [
        *_weights(load, sharding),
        *_reference(load, config),
        *_optimizer(load, config["optimizer"], sharding),
        *_update(load),
        *_sampling(load, config["engine"]),
    ]
    return Memory(tuple(items), tuple(_main_memory(load, config)))


def trained_parameters(load: Workload) -> int:
    """How many weights are trained."""
    counted = count_parameters(load.shape)
    if load.options.lora is not None:
        return lora_parameters(load.shape.text, load.options.lora.rank)
    return counted.total - (counted.vision if load.frozen_vision else 0)


def _weights(load: Workload, sharding: Sharding) -> list[Item]:
    precision, total = load.precision, count_parameters(load.shape).total
    items = [Item("weights", total * precision.weights / sharding.weights, precision.words)]
    if load.options.lora is not None:
        items.append(Item("adapters", trained_parameters(load) * precision.weights, f"rank {load.options.lora.rank}"))
    if precision.mixed and precision.weights > precision.compute:
        cast = load.shape.text.layers * layer_weights(load.shape.text) * precision.compute
        items.append(Item("weights, cast for products", cast, "autocast keeps them for a pass", "updating"))
    return items


def _reference(load: Workload, config: Mapping[str, Any]) -> list[Item]:
    if not load.grpo:
        return []
    size = count_parameters(load.shape).total * BYTES[load.options.dtype]
    if not config["algorithm"]["kl_coef"]:
        return [Item("reference", 0, "none: algorithm.kl_coef=0")]
    if load.options.lora is not None:
        return [Item("reference", 0, "the policy without its adapters")]
    if load.options.reference_offload:
        return [Item("reference", size, "waits in main memory, here for its pass only", "referring")]
    return [Item("reference", size, "a second copy, on this device")]


def _optimizer(load: Workload, optimizer: Mapping[str, Any], sharding: Sharding) -> list[Item]:
    trained, size = trained_parameters(load), load.precision.weights
    items = [Item("gradients", trained * size / sharding.gradients, f"of {trained:,} trained parameters")]
    if sharding.buckets:
        items.append(Item("gradients, DDP's buckets", trained * size, "a copy for the exchange"))
    moments, note = optimizer_bytes(optimizer, size)
    if sharding.master:
        moments, note = 12, "float32 weights and two moments (DeepSpeed)"
    items.append(Item("optimizer", trained * moments / sharding.states, note))
    return items


def optimizer_bytes(optimizer: Mapping[str, Any], itemsize: int) -> tuple[int, str]:
    """Bytes of the optimizer's states for one parameter, and what they are."""
    name = str(optimizer.get("_target_", "")).rpartition(".")[2]
    kind = {8: "float64", 4: "float32", 2: "bfloat16"}[itemsize]
    if name == "SGD":
        return (itemsize, f"SGD: momentum, {kind}") if optimizer.get("momentum") else (0, "SGD: none")
    if uses_kahan(optimizer) and itemsize == 2:
        return 3 * itemsize, f"{name}: two moments and Kahan's remainder, {kind}"
    known = "Adam" in name
    return 2 * itemsize, f"{name}: two moments, {kind}" + ("" if known else " (assumed)")


def uses_kahan(optimizer: Mapping[str, Any]) -> bool:
    """Whether low-precision weights keep what rounding takes from an update."""
    return str(optimizer.get("_target_", "")).startswith("optimi.") and optimizer.get("kahan_sum") is not False


def _update(load: Workload) -> list[Item]:
    """Of the largest micro-batch: what the forward pass keeps, and one block of logits."""
    group, per_batch, size = load.worst, load.units.groups_per_micro_batch, load.precision.compute
    shared, vision = load.shared, load.shape.vision
    pictures = per_batch * (1 if shared else group.size)
    patches = 0 if load.frozen_vision else pictures * group.image * vision.merge**2
    tokens = per_batch * group.tokens(shared)
    kept, other = (
        activations(load.shape, tokens, patches, size, on)
        for on in (load.options.gradient_checkpointing, not load.options.gradient_checkpointing)
    )
    without = "without" if load.options.gradient_checkpointing else "with"
    note = f"of {tokens:,} tokens; {other.total / GIB:,.1f} {without} gradient checkpointing"
    keys = per_batch * group.size * (group.prompt + group.response) * 2 * load.shape.text.key_width * size
    layers = 1 if load.options.gradient_checkpointing else load.shape.text.layers
    rows = min(per_batch * group.size * group.response, max(1, LOGITS_AT_A_TIME // load.shape.text.vocabulary))
    items = [Item("activations", kept.total, note, "updating")]
    if shared:
        items.append(Item("keys beside each response", layers * keys, "prompt and response, one layer", "updating"))
    items.append(
        Item("logits", rows * load.shape.text.vocabulary * _LOGIT_BYTES, f"{rows:,} rows at a time", "updating")
    )
    return items


def _sampling(load: Workload, engine: Mapping[str, Any]) -> list[Item]:
    """The key-value cache of the embedded engine, or the share that vLLM is given."""
    name = engine.get("name")
    if name == "vllm":
        share = load.assumed.device.memory * engine["gpu_memory"]
        cache = (engine["kv_cache_gb"] or 0) * GIB
        note = f"engine.gpu_memory={engine['gpu_memory']} of it: its weights and its key-value cache"
        if cache:
            weights = count_parameters(load.shape).total * load.precision.compute
            return [Item("vLLM", weights + cache, "its weights and engine.kv_cache_gb", "sampling")]
        return [Item("vLLM", share, note, "sampling")]
    if name != "transformers":
        return [Item("key-value cache", 0, f"engine={name} samples elsewhere", "sampling")]
    group, text = load.worst, load.shape.text
    rows = min(engine["prompts_per_batch"], load.units.prompts_per_rank) * group.size
    if not load.grpo:
        rows = engine["prompts_per_batch"]  # of the validation
    each = cache_bytes(text, load.precision.compute) * (group.prompt + group.response)
    working = rows * text.vocabulary * _DRAW_BYTES
    prefill = (
        ceil(rows / group.size) * group.prompt * (3 * text.intermediate + 4 * text.hidden) * load.precision.compute
    )
    return [
        Item("key-value cache", rows * each, f"of {rows:,} responses sampled side by side", "sampling"),
        Item("sampling's working memory", max(working, prefill), "one layer of all prompts, or drawing", "sampling"),
    ]


def _main_memory(load: Workload, config: Mapping[str, Any]) -> list[Item]:
    """What lies in main memory for a round, or waits there."""
    vision, prompts = load.shape.vision, load.units.prompts_per_rank
    if not load.grpo:
        prompts = load.units.groups_per_micro_batch
    patches = prompts * load.typical.image * vision.merge**2
    items = [Item("pictures", patches * vision.patch_width * FLOAT32)]
    if load.grpo and load.frozen_vision:
        wide = prompts * load.typical.image * vision.out * (1 + vision.deepstack)
        items.append(Item("their features", wide * load.precision.compute))
    if load.grpo and load.options.reference_offload and load.options.lora is None and config["algorithm"]["kl_coef"]:
        items.append(Item("reference", count_parameters(load.shape).total * BYTES[load.options.dtype]))
    return items
