"""Grouped attention equals transformers' own, values and gradients, with and without masks."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tracer1.models.attention import grouped_attention, masked_attention


def inputs(length: int, seen: int, key_heads: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 6, length, 8), (2, key_heads, seen, 8), (2, key_heads, seen, 8))
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes)


@pytest.mark.parametrize("key_heads", [1, 2, 6])
@pytest.mark.parametrize(("length", "seen", "masked"), [(1, 9, True), (4, 9, True), (5, 5, False), (1, 9, False)])
def test_equals_transformers(length: int, seen: int, masked: bool, key_heads: int) -> None:
    query, key, value = inputs(length, seen, key_heads)
    mask = None
    if masked:  # causal over what was seen, and the second row's first two columns are padding
        mask = torch.ones(length, seen, dtype=torch.bool).tril(seen - length).expand(2, 1, -1, -1).clone()
        mask[1, :, :, :2] = False
    module = SimpleNamespace(num_key_value_groups=6 // key_heads, is_causal=True, training=False)
    results = []
    for attend in (grouped_attention, sdpa_attention_forward):
        out, _ = attend(module, query, key, value, mask, scaling=0.3)
        results.append((out, *torch.autograd.grad(out.square().sum(), (query, key, value))))
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_shared_heads_and_repeated_heads_are_the_same() -> None:
    query, key, value = inputs(4, 9, 2)
    mask = torch.zeros(1, 1, 4, 9, dtype=torch.float64).masked_fill(torch.ones(4, 9).tril(5) == 0, -torch.inf)
    results = []
    for repeat in (True, False):
        out = masked_attention(query, key, value, mask, 0.3, repeat)
        results.append((out, *torch.autograd.grad(out.square().sum(), (query, key, value))))
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
