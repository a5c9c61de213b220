"""What a strategy spreads over how many devices, and what it moves to main memory. It knows no sizes and no time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ZERO, _FSDP = "tracer1.training.strategies.ZeroStrategy", "tracer1.training.strategies.ShardedStrategy"
# `trainer.strategy` as conf/strategy/ has it (a test compares them), in the order in which memory shrinks
STRATEGIES: dict[str, Any] = {
    "single": "auto",
    "ddp": "ddp",
    "zero1": {"_target_": _ZERO, "stage": 1},
    "zero2": {"_target_": _ZERO, "stage": 2},
    "zero3": {"_target_": _ZERO, "stage": 3},
    "zero3_offload": {"_target_": _ZERO, "stage": 3, "offload": True},
    "fsdp2": {"_target_": _FSDP},
}


@dataclass(frozen=True, slots=True)
class Sharding:
    """Over how many devices a strategy spreads what, and what it adds."""

    weights: int = 1
    gradients: int = 1
    states: int = 1
    buckets: bool = False  # DDP's own copy of the gradients
    master: bool = False  # DeepSpeed's float32 weights, moments and sums of gradients, whatever the model's type
    offload: bool = False  # gradients, states and, of stage 3, weights wait in main memory, where the optimizer works


def read_sharding(trainer: Mapping[str, Any], ranks: int) -> Sharding:
    """From `trainer.strategy`: a name, or a `_target_` with a stage."""
    strategy = trainer.get("strategy", "auto")
    options = strategy if isinstance(strategy, Mapping) else {}
    name = str(options.get("_target_", strategy)).lower()
    stage = next((int(digit) for digit in "321" if f"stage_{digit}" in name), int(options.get("stage", 2)))
    if "deepspeed" in name or "zerostrategy" in name:
        offload = "offload" in name or bool(options.get("offload", options.get("offload_optimizer")))
        return Sharding(ranks if stage > 2 else 1, ranks if stage > 1 else 1, ranks, master=True, offload=offload)
    if "fsdp" in name or "shardedstrategy" in name or "modelparallel" in name:
        return Sharding(ranks, ranks, ranks)
    return Sharding(buckets=ranks > 1)
