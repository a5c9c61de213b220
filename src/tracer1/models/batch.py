"""Prompts and responses as padded tensors: what a forward pass reads. It knows no model, reward or plan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from tracer1.schema import Prompt

RopeIndex = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


@dataclass
class _OnDevice:
    """Lightning moves any batch that has `.to`."""

    def to(self, device: torch.device | str, **kwargs: bool) -> Self:
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = value.to(device, **kwargs) if isinstance(value, (Tensor, _OnDevice)) else value
        return replace(self, **moved)


@dataclass
class PromptBatch(_OnDevice):
    """B prompts, left-padded to P tokens so that all of them end in the same column."""

    input_ids: Tensor  # (B, P)
    attention_mask: Tensor  # (B, P) 1 for tokens, 0 for padding
    position_ids: Tensor  # (3, B, P) M-RoPE positions: time, height, width
    next_position: Tensor  # (B,) the position of the first response token, on all three axes
    pixel_values: Tensor | None  # (patches, D) of all images in order
    image_grid_thw: Tensor | None  # (images, 3) patches along time, height, width

    @classmethod
    def collate(cls, prompts: Sequence[Prompt], pad_id: int, rope_index: RopeIndex) -> "PromptBatch":
        """Pads B prompts. `rope_index(ids, mask, grids)` gives M-RoPE positions (3, B, P) and deltas (B, 1)."""
        width = max(len(p.token_ids) for p in prompts)
        ids = torch.full((len(prompts), width), pad_id)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt.token_ids) :] = torch.tensor(prompt.token_ids)
            mask[row, width - len(prompt.token_ids) :] = 1
        images = [p.tensors for p in prompts if "pixel_values" in p.tensors]
        pixels = torch.cat([t["pixel_values"] for t in images]) if images else None
        grids = torch.cat([t["image_grid_thw"] for t in images]) if images else None
        positions, deltas = rope_index(ids, mask, grids)
        return cls(ids, mask, positions, mask.sum(1) + deltas[:, 0], pixels, grids)


@dataclass
class ResponseBatch(_OnDevice):
    """N = B x G responses, group-adjacent, right-padded to R tokens."""

    input_ids: Tensor  # (N, R)
    mask: Tensor  # (N, R) 1 for sampled tokens (the end token included), 0 for padding

    @classmethod
    def collate(cls, responses: Sequence[Sequence[int]], pad_id: int) -> "ResponseBatch":
        """Pads N lists of token ids; R is at least 1."""
        width = max(1, *(len(r) for r in responses)) if responses else 1
        ids = torch.full((len(responses), width), pad_id)
        mask = torch.zeros((len(responses), width))
        for row, response in enumerate(responses):
            ids[row, : len(response)] = torch.tensor(response, dtype=torch.long)
            mask[row, : len(response)] = 1
        return cls(ids, mask)


@dataclass
class MicroBatch(_OnDevice):
    """Whole groups on their way to one forward and backward pass."""

    prompts: PromptBatch
    responses: ResponseBatch
    advantages: Tensor  # (N,)
    old_logprobs: Tensor  # (N, R) when sampled, recomputed by the policy in this very packing
    ref_logprobs: Tensor  # (N, R) under the frozen reference
    update_tokens: int  # response tokens of the whole update, over all micro-batches and ranks
    parts: int  # micro-batches x ranks of the update
