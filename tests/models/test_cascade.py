"""Two calls joined by their log-sum-exps equal one softmax over both: by hand, in low precision, in mixed precision."""

import math

import pytest
import torch
from torch.testing import assert_close

from tracer1.models.cascade import prompt_and_self_attention


def test_a_value_worked_out_by_hand():
    # one query, one head of width 1, scale 1: scores 0 and log 2 over the prompt, log 3 over itself, so weights 1, 2, 3 of 6
    query = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    prompt_keys = torch.tensor([0.0, math.log(2)], dtype=torch.float64).view(1, 1, 2, 1)
    prompt_values = torch.tensor([6.0, 12.0], dtype=torch.float64).view(1, 1, 2, 1)
    own = torch.full((1, 1, 1, 1), math.log(3), dtype=torch.float64), torch.full((1, 1, 1, 1), 18.0).double()
    out = prompt_and_self_attention(query, (prompt_keys, prompt_values), own, None, 1.0)
    assert_close(out.item(), (1 * 6 + 2 * 12 + 3 * 18) / 6)


def inputs(dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((6, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8), (6, 2, 5, 8), (6, 2, 5, 8))
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


def by_two_calls(tensors: list[torch.Tensor], hidden: torch.Tensor | None = None) -> torch.Tensor:
    query, key, value, own_key, own_value = tensors
    return prompt_and_self_attention(query, (key, value), (own_key, own_value), hidden, None)


def test_gradients_by_finite_differences():
    hidden = torch.zeros(2, 1, 1, 7, dtype=torch.float64)
    hidden[1, ..., 5:] = -torch.inf
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the fast mode projects on random directions
        assert torch.autograd.gradcheck(
            lambda *tensors: by_two_calls(list(tensors), hidden), inputs(torch.float64), fast_mode=True
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_close_to_float64(dtype: torch.dtype):
    exact = inputs(torch.float64)
    expected = by_two_calls(exact)
    expected_gradients = torch.autograd.grad(expected.square().sum(), exact)
    rounded = inputs(dtype)
    out = by_two_calls(rounded)
    assert out.dtype == dtype
    allowed = 1e-5 if dtype == torch.float32 else 0.1
    assert_close(out.double(), expected, atol=allowed, rtol=0)
    for ours, theirs in zip(torch.autograd.grad(out.square().sum(), rounded), expected_gradients, strict=True):
        assert_close(ours.double(), theirs, atol=allowed * 10, rtol=0)


def test_mixed_precision_computes_in_the_lower_one_and_gives_back_float32_gradients():
    tensors = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = by_two_calls(tensors)
    assert out.dtype == torch.bfloat16
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(out.float().sum(), tensors))
