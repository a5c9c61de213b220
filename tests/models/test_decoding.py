"""Sampling's attention over prompts that stand there once equals one softmax per row, whichever rows are left."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from tracer1.models.decoding import PromptKeys, decode_attention

HEADS, KEY_HEADS, PROMPT, RESPONSE, WIDTH = 6, 2, 7, 4, 8


def tensors(rows: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (3, KEY_HEADS, PROMPT, WIDTH),
        (3, KEY_HEADS, PROMPT, WIDTH),
        (rows, HEADS, 1, WIDTH),
        (rows, KEY_HEADS, RESPONSE, WIDTH),
        (rows, KEY_HEADS, RESPONSE, WIDTH),
    )
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def row_by_row(mask, group, prompt_key, prompt_value, query, key, value) -> torch.Tensor:
    out = []
    for row, g in enumerate(group.tolist()):
        seen = mask[g]
        keys = torch.cat([prompt_key[g][:, seen], key[row]], dim=1)[None]
        values = torch.cat([prompt_value[g][:, seen], value[row]], dim=1)[None]
        out.append(scaled_dot_product_attention(query[row : row + 1], keys, values, enable_gqa=True))
    return torch.cat(out)


GROUPS = {
    "one response each": [0, 1, 2],
    "whole groups": [0, 0, 1, 1, 2, 2],
    "uneven groups": [0, 0, 0, 1, 2, 2],
    "out of order": [2, 0, 2, 1, 0],
}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("case", GROUPS)
def test_equals_one_softmax_per_row(case: str, padded: bool):
    group = torch.tensor(GROUPS[case])
    mask = torch.ones(3, PROMPT, dtype=torch.bool)
    if padded:
        mask[1, :3] = False
        mask[2, :6] = False
    prompt_key, prompt_value, *rest = tensors(len(group))
    prompts = PromptKeys([(prompt_key, prompt_value)], mask, group)
    ours = decode_attention(*rest, prompts, 0, None)
    assert_close(ours, row_by_row(mask, group, prompt_key, prompt_value, *rest), atol=1e-12, rtol=0)


def test_selected_rows_keep_their_prompts_and_idle_prompts_go():
    prompt_key, prompt_value, *rest = tensors(6)
    mask, group = torch.ones(3, PROMPT, dtype=torch.bool), torch.tensor([0, 0, 1, 1, 2, 2])
    prompts = PromptKeys([(prompt_key, prompt_value)], mask, group)
    whole = decode_attention(*rest, prompts, 0, None)
    rows = torch.tensor([5, 1, 4])
    chosen = prompts.select(rows)
    assert len(chosen.mask) == len(chosen.layers[0][0]) == 2
    assert_close(decode_attention(*(x[rows] for x in rest), chosen, 0, None), whole[rows], atol=1e-12, rtol=0)


def test_large_scores_do_not_overflow_and_low_precision_stays():
    prompt_key, prompt_value, query, key, value = tensors(3, torch.bfloat16)
    prompts = PromptKeys([(prompt_key, prompt_value)], torch.ones(3, PROMPT, dtype=torch.bool), torch.arange(3))
    out = decode_attention(query * 1e4, key, value, prompts, 0, 1.0)
    assert out.dtype == torch.bfloat16
    assert out.isfinite().all()
