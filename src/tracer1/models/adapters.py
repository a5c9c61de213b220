"""LoRA through peft: put on, switched off for the reference, merged for export and for the engines."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from tracer1.errors import MissingDependency
from tracer1.models.options import LoRA

# the vision tower stays as it is: its features are then computed once a round
_TARGETS = r"model\.language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"


def add_lora(model: Qwen3VLForConditionalGeneration, lora: LoRA) -> None:
    """Freezes the model and adds adapters that begin as the identity.

    Raises:
        MissingDependency: peft is not installed.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise MissingDependency("model.lora needs peft: pip install 'tracer1[lora]'.") from error
    model.requires_grad_(False)
    model.add_adapter(LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=_TARGETS))


@contextmanager
def adapters_off(model: Qwen3VLForConditionalGeneration) -> Iterator[None]:
    """While entered, the model is what it was before the adapters."""
    model.disable_adapters()
    try:
        yield
    finally:
        model.enable_adapters()


@torch.no_grad()
def merged_weights(model: Qwen3VLForConditionalGeneration) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its Hugging Face name, adapters merged in; a tied head is left out."""
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            continue
        layer_name, _, weight = name.rpartition(".base_layer.")
        if layer_name and weight == "weight":
            (adapter,) = model.get_submodule(layer_name).active_adapters
            delta = model.get_submodule(layer_name).get_delta_weight(adapter)
            yield f"{layer_name}.weight", parameter + delta.to(parameter.dtype)
        else:
            yield name.replace(".base_layer.", "."), parameter.detach()


def plain_model(model: Qwen3VLForConditionalGeneration) -> Qwen3VLForConditionalGeneration:
    """The model itself, or, where it has adapters, one of the same class with them merged in."""
    if not model._hf_peft_config_loaded:
        return model
    with torch.device("meta"):
        plain = type(model)(model.config)
    plain.load_state_dict(dict(merged_weights(model)), strict=False, assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def lora_rank(model: Qwen3VLForConditionalGeneration) -> str:
    """Part of what two checkpoints must share."""
    if not model._hf_peft_config_loaded:
        return ""
    return f", LoRA rank {model.peft_config[model.active_adapters()[0]].r}"
