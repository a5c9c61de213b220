"""PlannerModule: what every trained planner has, whatever trains it: weights, encoder, optimizer, checkpoints, export.

It knows no loss.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import Qwen3VLForConditionalGeneration

from tracer1.models.adapters import add_lora, merged_weights, plain_model
from tracer1.models.backbone import load_backbone
from tracer1.models.encoder import PromptEncoder
from tracer1.models.group_forward import GroupForward
from tracer1.models.liger import use_liger
from tracer1.models.options import ModelOptions
from tracer1.models.sampler import PolicySampler
from tracer1.models.sharding import inside, is_spread, spread

OptimizerFactory = Callable[[Iterable[torch.nn.Parameter]], Optimizer]


class PlannerModule(L.LightningModule):
    """A Qwen3-VL in training.

    Args:
        path: The model's folder or hub name.
        prompt: Keyword arguments of PromptEncoder: horizon, style, max_prompt_tokens, pixels.
        optimizer: Makes the optimizer from the parameters.
        options: How the model is held and tuned.
    """

    def __init__(
        self, path: str, *, prompt: dict[str, Any], optimizer: OptimizerFactory, options: ModelOptions | None = None
    ) -> None:
        super().__init__()
        self.options = options or ModelOptions()
        self.backbone = load_backbone(path, self.options.dtype, self.options.attention)
        self.model = tuned(self.backbone.model.train(), self.options)
        self.encoder = PromptEncoder(self.backbone, **prompt)
        self.make_optimizer = optimizer
        self.forward_groups = GroupForward(self.options.shared_prefix, self.options.min_shared_prefix)
        self.strict_loading = self.options.lora is None  # a LoRA checkpoint holds the adapters only

    @property
    def tower_is_frozen(self) -> bool:
        """Whether pictures look the same to the model for the whole run."""
        return not any(parameter.requires_grad for parameter in self.model.model.visual.parameters())

    def autocast(self) -> AbstractContextManager[Any]:
        """What the trainer computes a training step in: passes outside of one must round as it does (trainer.precision)."""
        return nullcontext() if self._trainer is None else self._trainer.precision_plugin.forward_context()

    def through(self, run: Callable[..., Any], *inputs: Any) -> Any:
        """`run(*inputs)`, a pass outside of a training step, so that weights that are spread over ranks are there for it."""
        return inside(self, partial(inside, self.model, run), *inputs)

    def sampler(self) -> PolicySampler:
        """What the embedded engine samples with: a whole copy where the weights are spread over ranks. Every rank must ask."""
        if not is_spread(self.model):
            return PolicySampler(self.backbone)
        return PolicySampler(replace(self.backbone, model=plain_model(self.model)))

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The current weights under their Hugging Face names, adapters merged in; a tied head is left out.

        Where they are spread over ranks, every rank must go through all of them.
        """
        return merged_weights(self.model)

    def configure_model(self) -> None:
        """Spreads the weights where the trainer has a mesh of ranks for it (strategy=fsdp2)."""
        if self.device_mesh is not None and not is_spread(self.model):
            spread(self.model, self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        """One optimizer over the trainable parameters; the learning rate is constant."""
        return self.make_optimizer(p for p in self.parameters() if p.requires_grad)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes which architecture this is; frozen weights under adapters are those of model.path."""
        checkpoint["architecture"] = self.backbone.architecture
        if self.options.lora is not None:
            checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if ".lora_" in k}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another model with one line instead of hundreds of missing keys."""
        self.backbone.check_architecture(checkpoint.get("architecture"))

    def export(self, folder: Path) -> None:
        """Writes a Hugging Face folder with the current weights. Where they are spread over ranks, every rank must call it;
        the first one writes."""
        if not is_spread(self.model):
            self.backbone.save(folder)
        elif self.global_rank:
            for _ in self.weights():  # this rank's parts, for the one that writes
                pass
        else:
            replace(self.backbone, model=plain_model(self.model, "cpu")).save(folder)


def tuned(model: Qwen3VLForConditionalGeneration, options: ModelOptions) -> Qwen3VLForConditionalGeneration:
    """The model with what is trained, and how, switched on."""
    if options.freeze_vision_tower:
        model.model.visual.requires_grad_(False)
    if options.lora is not None:
        add_lora(model, options.lora)
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    use_liger(model, options.liger)
    return model
