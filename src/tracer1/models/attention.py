"""Attention through PyTorch, without copies of keys and values for each query head, and for packed groups.

transformers calls it by name and passes through a `layout` where tokens are packed (`packing.py`), and `prompts` while sampling
(`decoding.py`); it knows nothing of models.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from tracer1.models.cascade import prompt_and_self_attention
from tracer1.models.decoding import PromptKeys, decode_attention
from tracer1.models.packing import Layout

NAME = "grouped"
TWO_CALLS_FROM = (
    384  # prompt tokens from which, on a CPU, two calls without a mask beat one with it (docs/performance.md)
)
QUERIES_AT_A_TIME = 256  # of a response: attention by a mask computes what the mask then hides


def grouped_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout | None = None,
    prompts: PromptKeys | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """(N, heads, L, D) queries over (N, key heads, S, D) keys and values -> (N, L, heads, D).

    With a mask, the query heads that share a key head are laid along the query axis: transformers would repeat keys and values,
    which costs more than the attention while sampling. Exact: each query row attends by itself.
    """
    if layout is not None:
        return packed_attention(query, key, value, layout, kwargs.get("scaling")), None
    if prompts is not None:
        out = decode_attention(query, key, value, prompts, module.layer_idx, kwargs.get("scaling"))
        return out.transpose(1, 2), None
    rows, heads, length, width = query.shape
    groups = heads // key.shape[1]
    if attention_mask is None or groups == 1:  # PyTorch's own causal path needs the heads apart
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    stacked = query.reshape(rows, heads // groups, groups * length, width)
    mask = attention_mask.repeat(1, 1, groups, 1) if length > 1 else attention_mask
    out = scaled_dot_product_attention(stacked, key, value, attn_mask=mask, scale=kwargs.get("scaling"))
    return out.reshape(rows, heads, length, width).transpose(1, 2).contiguous(), None


def packed_attention(query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float | None) -> Tensor:
    """Attention over one packed row: prompts to themselves, each response to its prompt and to itself, all causal.

    Args:
        query: (1, heads, L, D).
        key: (1, key heads, L, D); `value` likewise.
        layout: Where prompts and responses lie.
        scale: Of the scores; None = 1/sqrt(D).

    Returns:
        (1, L, heads, D).
    """
    (q_prompt, q_response), (k_prompt, k_response), (v_prompt, v_response) = (
        layout.spread(x.transpose(1, 2)[0]) for x in (query, key, value)
    )
    # padding is on the right, so causal attention never looks at it
    prompt = scaled_dot_product_attention(q_prompt, k_prompt, v_prompt, is_causal=True, scale=scale, enable_gqa=True)
    if not q_response.shape[2]:  # responses of one token each: nothing reads them
        return layout.gather(prompt, q_response)[None]
    if query.device.type == "cpu" and k_prompt.shape[2] >= TWO_CALLS_FROM:
        hidden = layout.hidden(query.dtype)
        response = prompt_and_self_attention(q_response, (k_prompt, v_prompt), (k_response, v_response), hidden, scale)
    else:
        keys, values = layout.after_prompt(k_prompt, k_response), layout.after_prompt(v_prompt, v_response)
        response = _in_parts(layout.side_by_side(q_response), keys, values, layout.mask(query.dtype), scale)
        response = layout.apart(response)
    return layout.gather(prompt, response)[None]


def _in_parts(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float | None) -> Tensor:
    """Masked attention, a part of the queries at a time: what lies behind a part's last token is not even looked at."""
    length, repeat = query.shape[2], query.device.type != "cpu"
    before, parts = keys.shape[2] - length, []
    for start in range(0, length, QUERIES_AT_A_TIME):
        part, end = slice(start, start + QUERIES_AT_A_TIME), before + min(length, start + QUERIES_AT_A_TIME)
        seen = keys[:, :, :end], values[:, :, :end], mask[:, :, part, :end]
        parts.append(masked_attention(query[:, :, part], *seen, scale, repeat=repeat))
    return torch.cat(parts, dim=2)


def masked_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float | None, repeat: bool
) -> Tensor:
    """(B, heads, R, D) queries over (B, key heads, S, D) with a mask (B or 1, 1, R, S) added to the scores.

    `repeat` copies keys and values for the query heads that share them: no kernel of a GPU takes a mask and shared heads
    together, and PyTorch would write down all scores instead. The CPU's kernel takes both.
    """
    if repeat:
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=not repeat)


def register() -> None:
    """Makes the name known to transformers; safe to call twice."""
    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def kinds(vision: str = "sdpa") -> dict[str, str]:
    """What transformers takes as `attn_implementation`: ours for text, which every path relies on."""
    register()
    return {"text_config": NAME, "vision_config": vision}
