"""Attention without copies of keys and values: the query heads that share a key head are laid along the query axis.

transformers repeats keys and values for every query head before it calls PyTorch when there is a mask; while sampling, that
copy costs more than the attention. It knows nothing of models: transformers calls it by name.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "sdpa_grouped"


def grouped_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """(N, heads, L, D) queries over (N, key heads, S, D) keys and values -> (N, L, heads, D).

    Exact: each query row attends by itself, so rows of different heads may stand beside each other.
    """
    rows, heads, length, width = query.shape
    groups = heads // key.shape[1]
    if attention_mask is None or groups == 1:  # PyTorch's own causal path needs the heads apart
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    stacked = query.reshape(rows, heads // groups, groups * length, width)
    mask = attention_mask.repeat(1, 1, groups, 1) if length > 1 else attention_mask
    out = scaled_dot_product_attention(stacked, key, value, attn_mask=mask, scale=kwargs.get("scaling"))
    return out.reshape(rows, heads, length, width).transpose(1, 2).contiguous(), None


def register() -> None:
    """Makes the name known to transformers; safe to call twice."""
    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
