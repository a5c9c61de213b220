"""Attention of one token per response while sampling: over the prompt of its group, which stands there once, and over its response.

The responses of a group ask the same keys side by side, and both sums are joined as in `cascade.py`; by matrix products, since one
query is too little for an attention kernel. It knows nothing of models, and keeps no cache.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class PromptKeys:
    """Keys and values of B encoded prompts in every layer, and which of them each of N rows belongs to."""

    layers: list[tuple[Tensor, Tensor]]  # each (B, key heads, P, D)
    mask: Tensor  # (B, P) bool: False at padding
    group: Tensor  # (N,) the row's prompt
    _hidden: Tensor | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = torch.arange(len(self.group), device=self.group.device)
        order = self.group.argsort(stable=True)
        counts = torch.bincount(self.group, minlength=len(self.mask))
        first = counts.cumsum(0) - counts
        self._slot = torch.empty_like(rows)  # its place among the rows of its group
        self._slot[order] = rows - first[self.group[order]]
        self._slots = int(counts.max())
        in_order = torch.arange(len(self.mask), device=self.group.device).repeat_interleave(self._slots)
        self._plain = len(rows) == len(in_order) and bool((self.group == in_order).all())
        full = bool(self.mask.all())
        self._hidden = None if full else torch.zeros(self.mask.shape, device=self.mask.device)
        if self._hidden is not None:
            self._hidden = self._hidden.masked_fill_(~self.mask, -torch.inf)[:, None, None]

    def select(self, rows: Tensor) -> "PromptKeys":
        """Only these rows; a prompt that none of them belongs to goes."""
        kept, group = self.group[rows].unique(return_inverse=True)
        if len(kept) == len(self.mask):
            return PromptKeys(self.layers, self.mask, group)
        return PromptKeys([(key[kept], value[kept]) for key, value in self.layers], self.mask[kept], group)

    def side_by_side(self, rows: Tensor) -> Tensor:
        """(N, heads, R, D) -> (B, heads, slots x R, D), zeros where a group has fewer rows than another."""
        _, heads, length, width = rows.shape
        if self._plain:
            apart = rows.reshape(len(self.mask), self._slots, heads, length, width)
        else:
            apart = rows.new_zeros(len(self.mask), self._slots, heads, length, width)
            apart[self.group, self._slot] = rows
        return apart.transpose(1, 2).reshape(len(self.mask), heads, -1, width)

    def apart(self, groups: Tensor, length: int) -> Tensor:
        """(B, heads, slots x R, D) -> (N, heads, R, D)."""
        _, heads, _, width = groups.shape
        rows = groups.reshape(len(self.mask), heads, self._slots, length, width).transpose(1, 2)
        return rows.flatten(0, 1) if self._plain else rows[self.group, self._slot]

    def hide(self, scores: Tensor) -> Tensor:
        """Scores (B, ..., P) over the prompts, -inf at padding."""
        return scores if self._hidden is None else scores + self._hidden


def decode_attention(
    query: Tensor, key: Tensor, value: Tensor, prompts: PromptKeys, layer: int, scale: float | None
) -> Tensor:
    """Attention of the last token of each row.

    Args:
        query: (N, heads, 1, D).
        key: Of the responses so far, the last token included, (N, key heads, r, D); `value` likewise.
        prompts: What stands before them.
        layer: Whose keys are asked.
        scale: Of the scores; None = 1/sqrt(D).

    Returns:
        (N, heads, 1, D).
    """
    rows, heads, length, width = query.shape
    assert length == 1, "one token at a time"
    prompt_key, prompt_value = prompts.layers[layer]
    shared = heads // key.shape[1]  # query heads that share a key head
    query = query.reshape(rows, key.shape[1], shared, width) * (width**-0.5 if scale is None else scale)
    seen = prompts.hide(_scores(prompts.side_by_side(query), prompt_key))
    own = _scores(query, key)
    top = torch.maximum(prompts.apart(seen.amax(-1, keepdim=True), shared), own.amax(-1, keepdim=True))
    seen, own = (seen - prompts.side_by_side(top)).exp_(), (own - top).exp_()
    total = prompts.apart(seen.sum(-1, keepdim=True), shared) + own.sum(-1, keepdim=True)
    out = prompts.apart(seen.to(value.dtype) @ prompt_value, shared) + own.to(value.dtype) @ value
    return (out / total).to(value.dtype).reshape(rows, heads, 1, width)


def _scores(query: Tensor, key: Tensor) -> Tensor:
    """(..., R, D) x (..., S, D) -> (..., R, S), in float32 at least."""
    scores = query @ key.mT
    return scores if scores.dtype == torch.float64 else scores.float()
