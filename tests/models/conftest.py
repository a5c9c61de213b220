"""Tiny planners of one's own, prompts with and without a picture, and responses of unequal length."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers.models.qwen3_vl import modeling_qwen3_vl

from tracer1.models.backbone import Backbone
from tracer1.models.encoder import PromptEncoder
from tracer1.schema import Prompt, Step


def _copy(backbone: Backbone) -> Backbone:
    return Backbone(copy.deepcopy(backbone.model), backbone.tokenizer, copy.deepcopy(backbone.image_processor))


@pytest.fixture
def own_tiny(tiny: Backbone) -> Backbone:
    """A copy of the tiny planner that a test may change."""
    return _copy(tiny)


def _exact_norm(norm: torch.nn.Module, hidden: Tensor) -> Tensor:
    return norm.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)


def _exact_rotation(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    q, k = (x * cos + modeling_qwen3_vl.rotate_half(x) * sin for x in (q, k))
    return q, k


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a float64 model compute in float64: transformers' norms and the tower's rotation go through float32 whatever the weights.

    The values survive that (the same rounding in every path), but gradients are summed before it in one path, after it in another.
    """
    monkeypatch.setattr(modeling_qwen3_vl.Qwen3VLTextRMSNorm, "forward", _exact_norm)
    monkeypatch.setattr(modeling_qwen3_vl, "apply_rotary_pos_emb_vision", _exact_rotation)


@pytest.fixture
def tiny64(own_tiny: Backbone, exact: None) -> Backbone:
    """A float64 copy with larger weights, so that every token and pixel is felt."""
    own_tiny.model.double()
    with torch.no_grad():
        for parameter in own_tiny.model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
    return own_tiny


@pytest.fixture(scope="session")
def prompts(tiny: Backbone, make_step: Callable[..., Step], draw_screen: Callable[..., bytes]) -> dict[str, Prompt]:
    """`seen` and `wide` with pictures of different sizes, `two pictures` with both, `blind` without one; all of different lengths."""
    encoder = PromptEncoder(tiny, horizon=5, style="brief")
    steps = {
        "seen": make_step("Click on the red button."),
        "wide": make_step("Press submit.", trajectory="b", screenshot=draw_screen((160, 64), (90, 10), "blue")),
        "blind": make_step("Type the name into the box, then go.", trajectory="c", screenshot=None),
    }
    found = {name: encoder.encode(step) for name, step in steps.items()}
    first, second = found["seen"], found["wide"]
    tensors = {name: torch.cat([first.tensors[name], second.tensors[name]]) for name in first.tensors}
    found["two pictures"] = Prompt("two", first.token_ids + second.token_ids, tensors)
    return found


@pytest.fixture(scope="session")
def some_responses() -> Callable[..., list[list[int]]]:
    """`some_responses([4, 0, 7])` -> token ids of those lengths, all different, none of them a control token."""

    def make(lengths: list[int], seed: int = 0) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [torch.randint(10, 250, (length,), generator=generator).tolist() for length in lengths]

    return make
