"""How a model is held and tuned: plain values of the config's model group."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tracer1.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LoRA:
    """Low-rank adapters on the text layers (arXiv:2106.09685) through peft. There is no dropout: it would make old and new
    log-probs differ on the same weights."""

    rank: int = 32
    alpha: float = 64.0  # the adapter's output is scaled by alpha / rank

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"model.lora.rank={self.rank} cannot work: it must be at least 1.")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Everything of the model group but paths and prompt."""

    dtype: str = "float32"
    attention: str = "sdpa"  # of the vision tower
    shared_prefix: bool = True  # one prompt for its n responses in the training passes; false repeats it
    min_shared_prefix: int = 16  # tokens of a prompt below which repeating it is as fast
    freeze_vision_tower: bool = False
    gradient_checkpointing: bool = False
    liger: bool | str = "auto"  # log-probs by Liger's fused kernel: where it is installed, always or never
    lora: LoRA | None = None
    reference_offload: bool = False  # the reference waits in main memory while others work

    @classmethod
    def of(cls, group: Mapping[str, Any]) -> "ModelOptions":
        """From a model group; its path, reference and prompt are others' business."""
        values = {key: value for key, value in group.items() if key not in ("path", "reference", "prompt")}
        lora = values.pop("lora", None)
        known = [field.name for field in fields(LoRA)]
        if lora is not None and not (isinstance(lora, Mapping) and set(lora) <= set(known)):
            raise ConfigError(f"model.lora={lora!r} cannot work: it must be null or hold some of {', '.join(known)}.")
        return cls(**values, lora=None if lora is None else LoRA(**lora))
