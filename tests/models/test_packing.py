"""The packed row: what goes in comes out, and padding never enters it."""

import pytest
import torch
from torch.testing import assert_close

from tracer1.models import attention
from tracer1.models.attention import packed_attention
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.packing import Layout, Pack
from tracer1.schema import Prompt

PAD, IMAGE = 0, 99


def plain_rope(ids: torch.Tensor, mask: torch.Tensor, grids: None) -> tuple[torch.Tensor, torch.Tensor]:
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return positions.expand(3, -1, -1), torch.zeros(len(ids), 1, dtype=torch.long)


def pack(prompts: list[tuple[int, ...]], responses: list[list[int]]) -> Pack:
    batch = PromptBatch.collate([Prompt(str(i), p, {}) for i, p in enumerate(prompts)], PAD, plain_rope)
    return Pack.of(batch, ResponseBatch.collate(responses, PAD), IMAGE)


def test_a_row_worked_out_by_hand():
    # two prompts of 3 and 2 tokens, two responses each; the last token of a response is not read
    row = pack([(1, 99, 3), (4, 5)], [[10, 11, 12], [], [20], [30, 31]])
    assert row.input_ids.tolist() == [[1, 99, 3, 4, 5, 10, 11, 30]]
    assert row.picture.tolist() == [[False, True, *[False] * 6]]
    assert row.position_ids[0].tolist() == [[0, 1, 2, 0, 1, 3, 4, 2]]
    # 10 and 20, 30 follow the last tokens of their prompts (places 2 and 4); 11 follows 10 (place 5)
    assert row.predictor.tolist() == [2, 5, 6, 4, 4, 7]


def test_a_sampled_image_token_is_no_picture():
    assert pack([(99, 1)], [[99, 99, 2]]).picture.tolist() == [[True, False, False, False]]


def test_the_mask_worked_out_by_hand():
    layout = Layout(torch.tensor([[True, True], [True, False]]), torch.tensor([[True, True], [True, False]]))
    seen = layout.mask(torch.float32) == 0
    assert seen.int().tolist() == [[[[1, 1, 1, 0], [1, 1, 1, 1]]], [[[1, 0, 1, 0], [1, 0, 1, 1]]]]


def attention_by_loops(query, key, value, owners: list[list[int]]) -> torch.Tensor:
    """Every token by itself: `owners[i]` are the places that token i looks at."""
    heads = query.shape[1] // key.shape[1]
    out = torch.empty_like(query)
    for head in range(query.shape[1]):
        for at, places in enumerate(owners):
            scores = key[0, head // heads, places] @ query[0, head, at] / query.shape[-1] ** 0.5
            out[0, head, at] = scores.softmax(0) @ value[0, head // heads, places]
    return out.transpose(1, 2)


WAYS = {"parts of 1": (1, 999), "parts of 2": (2, 999), "one part": (256, 999), "two calls": (256, 1)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("prompts", "responses"),
    [([3], [2]), ([4], [2, 3, 1]), ([2, 3], [2, 0, 1, 3]), ([1, 1], [1, 2]), ([3, 2], [0, 0]), ([2, 4, 1], [0, 1, 2])],
)
def test_equals_attention_token_by_token(
    prompts: list[int], responses: list[int], way: str, monkeypatch: pytest.MonkeyPatch
):
    at_a_time, two_calls_from = WAYS[way]
    monkeypatch.setattr(attention, "QUERIES_AT_A_TIME", at_a_time)
    monkeypatch.setattr(attention, "TWO_CALLS_FROM", two_calls_from)
    size = len(responses) // len(prompts)

    def mask(lengths: list[int]) -> torch.Tensor:
        return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

    layout = Layout(mask(prompts), mask(responses))
    starts = [sum(prompts[:i]) for i in range(len(prompts))]
    owners = [[s + i for i in range(at + 1)] for s, n in zip(starts, prompts, strict=True) for at in range(n)]
    at = len(owners)
    for row, length in enumerate(responses):
        own = range(starts[row // size], starts[row // size] + prompts[row // size])
        owners += [[*own, *range(at, at + i + 1)] for i in range(length)]
        at += length
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(1, h, at, 8, generator=generator, dtype=torch.float64, requires_grad=True) for h in (6, 2, 2)
    )
    ours = packed_attention(q, k, v, layout, None)
    theirs = attention_by_loops(q, k, v, owners)
    assert_close(ours, theirs, atol=1e-12, rtol=0)
    weights = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(*(torch.autograd.grad((o * weights).sum(), (q, k, v)) for o in (ours, theirs)), strict=True):
        assert_close(a, b, atol=1e-12, rtol=0)
