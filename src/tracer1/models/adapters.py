"""LoRA through peft: put on, switched off for the reference, merged for export and for the engines."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from tracer1.errors import MissingDependency
from tracer1.models.options import LoRA
from tracer1.models.sharding import is_spread, whole
from tracer1.models.vision import use_linear_patches

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
    """Every weight under its Hugging Face name, adapters merged in; a tied head is left out.

    Where weights are spread over ranks, every rank must go through all of them.
    """
    named = list(model.named_parameters())
    low_rank = dict(whole(pair for pair in named if ".lora_" in pair[0]))
    for name, parameter in whole(pair for pair in named if ".lora_" not in pair[0]):
        layer_name, _, weight = name.rpartition(".base_layer.")
        if layer_name and weight == "weight":
            layer = model.get_submodule(layer_name)
            (adapter,) = layer.active_adapters
            parts = (low_rank[f"{layer_name}.lora_{side}.{adapter}.weight"] for side in "AB")
            down, up = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in parts)
            yield f"{layer_name}.weight", parameter + (up @ down * layer.scaling[adapter]).to(parameter.dtype)
        else:
            yield name.replace(".base_layer.", "."), parameter.detach()


def plain_model(
    model: Qwen3VLForConditionalGeneration, device: torch.device | str | None = None
) -> Qwen3VLForConditionalGeneration:
    """The model itself, or, where it has adapters or its weights are spread over ranks, a whole one of the same class.

    Args:
        model: Every rank must call this for one that is spread.
        device: Where the whole one's weights go; None leaves them where they were brought together.
    """
    if not (model._hf_peft_config_loaded or is_spread(model)):
        return model
    with torch.device("meta"):
        plain = type(model)(model.config)
    weights = {name: weight.to(device or weight.device) for name, weight in merged_weights(model)}
    plain.load_state_dict(weights, strict=False, assign=True)
    plain.tie_weights()
    for name, buffer in model.named_buffers():  # a state dict has none of them
        owner, _, leaf = name.rpartition(".")
        plain.get_submodule(owner).register_buffer(leaf, buffer.to(device or buffer.device), persistent=False)
    use_linear_patches(plain)
    plain.generation_config = model.generation_config
    return plain.requires_grad_(False).eval()


def lora_rank(model: Qwen3VLForConditionalGeneration) -> str:
    """Part of what two checkpoints must share."""
    if not model._hf_peft_config_loaded:
        return ""
    return f", LoRA rank {model.peft_config[model.active_adapters()[0]].r}"
