"""Memory of one device, item by item: an estimate from sizes alone. What libraries, fragments and kernels take is not in it.

It knows nothing of time or of how numbers are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from tracer1.models.costs import FLOAT32, activations, cache_bytes, count_parameters, layer_weights, lora_parameters
from tracer1.training.dry_run.devices import GIB
from tracer1.training.dry_run.sharding import Sharding, read_sharding
from tracer1.training.dry_run.workload import BYTES, Workload

LOGITS_AT_A_TIME = 2**24  # numbers; as models/head.py has it, which loads torch
_LOGIT_BYTES = 16  # of each: itself, its exponential and two gradients in float32
_MASTER = 3 * FLOAT32  # of each parameter: DeepSpeed's weights and two moments
_LIVE = 1_000_000_000  # weights that DeepSpeed's stage 3 holds together at most, its stage3_max_live_parameters
_BUCKET = 200_000_000  # gradients of one exchange, Lightning's reduce_bucket_size; two are under way
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


def plan_memory(load: Workload, config: Mapping[str, Any]) -> Memory:
    """The items of a run, those of the largest micro-batch that the limits let through."""
    sharding = read_sharding(config["trainer"], load.units.ranks)
    items = [
        *_weights(load, sharding, config["engine"]),
        *_reference(load, config),
        *_optimizer(load, config["optimizer"], sharding),
        *_update(load),
        *_sampling(load, config["engine"]),
    ]
    return Memory(tuple(items), (*_main_memory(load, config), *_offloaded(load, sharding)))


def trained_parameters(load: Workload) -> int:
    """How many weights are trained."""
    counted = count_parameters(load.shape)
    if load.options.lora is not None:
        return lora_parameters(load.shape.text, load.options.lora.rank)
    return counted.total - (counted.vision if load.frozen_vision else 0)


def _weights(load: Workload, sharding: Sharding, engine: Mapping[str, Any]) -> list[Item]:
    precision, total = load.precision, count_parameters(load.shape).total
    own = total * precision.weights / sharding.weights
    items = [Item("weights", own, precision.words)]
    if sharding.weights > 1:
        if sharding.offload:
            items = [Item("weights", 0, "in main memory")]
        together = "brought together for a pass, no more at a time"
        items.append(Item("weights of other devices", live_weights(load, sharding), together, "updating"))
        if engine.get("name") == "transformers":
            items.append(Item("weights, whole", total * precision.compute, "a copy to sample with", "sampling"))
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
    summed = FLOAT32 if sharding.master else size
    items = [Item("gradients", trained * summed / sharding.gradients, f"of {trained:,} trained parameters")]
    if sharding.offload:
        items = [Item("gradients, optimizer", 0, "in main memory")]
    if sharding.master:
        items.append(
            Item("buckets", 2 * min(_BUCKET, trained) * load.precision.compute, "gradients under way", "updating")
        )
    if sharding.offload:
        return items
    if sharding.buckets:
        items.append(Item("gradients, DDP's buckets", trained * size, "a copy for the exchange"))
    moments, note = optimizer_bytes(optimizer, size)
    if sharding.master:
        moments, note = _MASTER, "float32 weights and two moments (DeepSpeed)"
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
        weights = count_parameters(load.shape).total * load.precision.compute / engine["tensor_parallel_size"]
        note = f"engine.gpu_memory={engine['gpu_memory']} of it: its weights and its key-value cache"
        if cache:
            return [Item("vLLM", weights + cache, "its weights and engine.kv_cache_gb", "sampling")]
        return [Item("vLLM", max(share, weights), note, "sampling")]
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


def live_weights(load: Workload, sharding: Sharding) -> float:
    """Bytes of weights that are together while a pass needs them: DeepSpeed's limit, or FSDP2's two layers and what is in none."""
    counted = count_parameters(load.shape)
    if sharding.master:
        return min(counted.total, _LIVE) * load.precision.compute
    outside = counted.embedding + counted.head
    return (2 * layer_weights(load.shape.text) + outside) * load.precision.compute


def _offloaded(load: Workload, sharding: Sharding) -> list[Item]:
    """What a strategy leaves in main memory, for each process."""
    if not sharding.offload:
        return []
    trained, weights = trained_parameters(load), count_parameters(load.shape).total * load.precision.weights
    items = [Item("gradients, optimizer", trained * (FLOAT32 / sharding.gradients + _MASTER / sharding.states))]
    return [*items, Item("weights", weights / sharding.weights)] if sharding.weights > 1 else items


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
