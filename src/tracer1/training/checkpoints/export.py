"""Takes the policy out of a checkpoint of any strategy, on a CPU, and writes it as a Hugging Face folder.

Weights that were spread over ranks are brought together in main memory. It knows nothing of training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tracer1.errors import CheckpointError, ConfigError, MissingDependency
from tracer1.models.options import ModelOptions
from tracer1.models.planner import PlannerModule
from tracer1.training.checkpoints.card import run_card
from tracer1.training.checkpoints.folders import find_checkpoint
from tracer1.training.checkpoints.keeping import best_checkpoint
from tracer1.training.checkpoints.manifest import STATE, Manifest, describe, read_state
from tracer1.training.checkpoints.policy_folder import write_policy


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    checkpoint: Path
    round: int
    adapter: bool


def export_checkpoint(
    source: Path, out: Path, *, best: bool = False, merge_lora: bool = False, model: str | None = None
) -> Exported:
    """Writes the policy of a checkpoint.

    Args:
        source: The checkpoint, or a run's folder: its newest whole one.
        out: The folder to write, which must not be there yet.
        best: Of a run's folder, the best one that it has kept.
        merge_lora: Write the whole model where LoRA was trained, not only the adapters.
        model: Where the model lies that the run began with; None for where it was then.

    Raises:
        CheckpointError: no whole checkpoint, or one that does not fit the model.
        ConfigError: `out` is there already, or the model that the run began with is not known.
    """
    if out.exists():
        raise ConfigError(f"{out} is there already. Name a folder that is not, or delete that one.")
    checkpoint = _meant(source, best)
    manifest = describe(checkpoint)
    group = _model_group(checkpoint, manifest, model)
    module = PlannerModule(group["path"], prompt=group["prompt"], optimizer=None, options=ModelOptions.of(group))
    module.backbone.check_architecture(manifest.architecture)
    _load(module, weights_in(checkpoint, manifest, module))
    adapter = module.options.lora is not None and not merge_lora
    config = {**manifest.config, "model": group}
    figures = manifest.validation or None

    def card() -> str:
        return run_card(checkpoint.parent, config, done=manifest.round, validation=figures, adapter=adapter)

    write_policy(_Adapters(module, group["path"]) if adapter else module, out, card)
    return Exported(checkpoint, manifest.round, adapter)


def _meant(source: Path, best: bool) -> Path:
    if source.is_file() or (source / "manifest.json").is_file() or source.suffix == ".ckpt":
        return find_checkpoint(str(source), source.parent)
    if not best:
        return find_checkpoint("last", source)
    found = best_checkpoint(source)
    if found is None:
        raise CheckpointError(
            f"{source} keeps no best checkpoint: its run had checkpoint.keep_best=0. Leave --best away."
        )
    return found


def _model_group(checkpoint: Path, manifest: Manifest, model: str | None) -> dict[str, Any]:
    """The config's model group; a file of an earlier version does not hold it."""
    group = dict(manifest.config.get("model") or {"prompt": {"horizon": 1, "style": "brief"}})
    if model is None and "path" not in group:
        raise ConfigError(f"{checkpoint} does not say which model its run began with: give it with --model.")
    return {**group, "path": model or group["path"], "liger": False, "gradient_checkpointing": False}


def weights_in(checkpoint: Path, manifest: Manifest, module: PlannerModule) -> Mapping[str, Tensor]:
    """The trained weights under the module's names.

    Raises:
        CheckpointError: DeepSpeed cannot read its files.
        MissingDependency: DeepSpeed is not installed.
    """
    if manifest.kind == "deepspeed":
        return _of_deepspeed(checkpoint)
    if manifest.kind == "torch":
        return _of_torch(checkpoint, module)
    return read_state(checkpoint if checkpoint.is_file() else checkpoint / STATE)["state_dict"]


def _of_deepspeed(checkpoint: Path) -> Mapping[str, Tensor]:
    try:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint as read
    except ImportError as error:
        raise MissingDependency("The checkpoint is DeepSpeed's: pip install 'tracer1[deepspeed]'.") from error
    try:
        return read(str(checkpoint), tag="checkpoint")
    except (ValueError, FileNotFoundError) as error:
        raise CheckpointError(f"{checkpoint} cannot be read by DeepSpeed: {error}") from error


def _of_torch(checkpoint: Path, module: PlannerModule) -> Mapping[str, Tensor]:
    import torch.distributed.checkpoint as distributed

    reader = distributed.FileSystemReader(checkpoint)
    held = reader.read_metadata().state_dict_metadata
    weights = {
        name: torch.empty_like(value) for name, value in module.state_dict().items() if f"state_dict.{name}" in held
    }
    distributed.load({"state_dict": weights}, storage_reader=reader, no_dist=True)
    return weights


def _load(module: PlannerModule, weights: Mapping[str, Tensor]) -> None:
    """Nothing may be left as it was but frozen weights under adapters, and a head that is the embedding."""
    missing, unknown = module.load_state_dict(weights, strict=False)
    trained = ".lora_" if module.options.lora is not None else ""
    tied = ("lm_head.weight",) if module.backbone.model.config.tie_word_embeddings else ()
    lacking = [name for name in missing if trained in name and not name.endswith(tied)]
    if lacking or unknown:
        raise CheckpointError(
            f"The checkpoint does not fit the model: {len(lacking)} weights are missing, {len(unknown)} are unknown "
            f"({(lacking or unknown)[0]}, ...). Give the model that its run began with as --model."
        )


class _Adapters:
    """Exports LoRA weights in PEFT's format."""

    def __init__(self, module: PlannerModule, base: str) -> None:
        self.module, self.base = module, base

    def export(self, folder: Path) -> None:
        """With the tokenizer and the image processor beside them."""
        model, backbone = self.module.model, self.module.backbone
        for settings in model.peft_config.values():
            settings.base_model_name_or_path = self.base
        model.save_pretrained(folder)
        backbone.tokenizer.save_pretrained(folder)
        backbone.image_processor.save_pretrained(folder)
