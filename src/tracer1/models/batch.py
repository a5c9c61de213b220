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
            if isinstance(value, (Tensor, _OnDevice)):
                value = value.to(device, **kwargs)
            elif isinstance(value, tuple):
                value = tuple(part.to(device, **kwargs) for part in value)
            moved[field.name] = value
        return replace(self, **moved)


@dataclass
class PictureFeatures(_OnDevice):
    """What the vision tower made of all pictures of a batch, in order."""

    embeds: Tensor  # (image tokens, H)
    deepstack: tuple[Tensor, ...]  # one (image tokens, H) for each of the first text layers


@dataclass
class PromptBatch(_OnDevice):
    """B prompts, left-padded to P tokens so that all of them end in the same column."""

    input_ids: Tensor  # (B, P)
    attention_mask: Tensor  # (B, P) 1 for tokens, 0 for padding
    position_ids: Tensor  # (3, B, P) M-RoPE positions: time, height, width
    next_position: Tensor  # (B,) the position of the first response token, on all three axes
    pixel_values: Tensor | None  # (patches, D) of all images in order
    image_grid_thw: Tensor | None  # (images, 3) patches along time, height, width
    pictures: Tensor  # (B,) how many pictures each prompt has
    features: PictureFeatures | None = None  # made ahead, when the vision tower is frozen

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
        pictures = torch.tensor([len(p.tensors.get("image_grid_thw", ())) for p in prompts])
        positions, deltas = rope_index(ids, mask, grids)
        return cls(ids, mask, positions, mask.sum(1) + deltas[:, 0], pixels, grids, pictures)

    def first(self, image_token: int) -> "PromptBatch":
        """The first prompt alone."""
        count, pixels, grids, features = int(self.pictures[0]), None, None, self.features
        if count:
            grids = self.image_grid_thw[:count]
            pixels = self.pixel_values[: int(grids.prod(1).sum())]
        if features is not None:
            tokens = int(((self.input_ids[0] == image_token) & self.attention_mask[0].bool()).sum())
            features = PictureFeatures(features.embeds[:tokens], tuple(level[:tokens] for level in features.deepstack))
        return PromptBatch(
            self.input_ids[:1],
            self.attention_mask[:1],
            self.position_ids[:, :1],
            self.next_position[:1],
            pixels,
            grids,
            self.pictures[:1],
            features,
        )


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
    old_logprobs: Tensor | None  # (N, R) when sampled; None: this is the first update, the policy is what sampled
    ref_logprobs: Tensor | None  # (N, R) under the frozen reference; None: no KL term
    engine_logprobs: Tensor | None  # (N, R) as the engine gave them, where the update is to compare them with its own
    denominator: float  # what the summed loss of the whole update is divided by, over all micro-batches and ranks
    parts: int  # micro-batches x ranks of the update
    sampled_logprobs: Tensor | None = (
        None  # (N, R) the sampler's, where older weights than the policy's may have sampled
    )
