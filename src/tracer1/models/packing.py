"""Prompts and responses of several groups in one row without padding: [p1 .. pB | r11 .. r1n .. rBn]. It knows no model.

The prompt of a group stands there once for its n responses. The last token of a response is left out: nothing follows it.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tracer1.models.batch import PromptBatch, ResponseBatch


@dataclass
class Layout:
    """Where B prompts (P at most) and N = B x G responses (R tokens read at most) lie in a row of L tokens.

    Padded forms have their padding on the right.
    """

    prompt_mask: Tensor  # (B, P) bool
    response_mask: Tensor  # (N, R) bool
    _masks: dict[torch.dtype, Tensor] = field(default_factory=dict)  # the same in every layer
    _hidden: dict[torch.dtype, Tensor] = field(default_factory=dict)  # likewise

    def __post_init__(self) -> None:
        self.groups, self.group_size = len(self.prompt_mask), len(self.response_mask) // len(self.prompt_mask)
        self.prompt_tokens = int(self.prompt_mask.sum())
        self._prompt_at = _indices(self.prompt_mask)
        self._response_at = _indices(self.response_mask)

    def spread(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """(L, heads, D) -> padded prompts (B, heads, P, D) and responses (N, heads, R, D)."""
        prompts, responses = packed.split([self.prompt_tokens, len(packed) - self.prompt_tokens])
        return (
            _pad(prompts, self._prompt_at, self.prompt_mask.shape).transpose(1, 2),
            _pad(responses, self._response_at, self.response_mask.shape).transpose(1, 2),
        )

    def gather(self, prompts: Tensor, responses: Tensor) -> Tensor:
        """Padded prompts (B, heads, P, D) and responses (N, heads, R, D) -> (L, heads, D)."""
        return torch.cat(
            [_unpad(prompts.transpose(1, 2), self._prompt_at), _unpad(responses.transpose(1, 2), self._response_at)]
        )

    def side_by_side(self, responses: Tensor) -> Tensor:
        """(N, heads, R, D) -> (B, G x heads, R, D): the responses of a group share one mask."""
        return responses.reshape(self.groups, -1, *responses.shape[2:])

    def apart(self, responses: Tensor) -> Tensor:
        """(B, G x heads, R, D) -> (N, heads, R, D)."""
        return responses.reshape(self.groups * self.group_size, -1, *responses.shape[2:])

    def after_prompt(self, prompts: Tensor, responses: Tensor) -> Tensor:
        """Keys or values of prompts (B, heads, P, D) and responses (N, heads, R, D) -> (B, G x heads, P + R, D)."""
        per_group = prompts[:, None].expand(-1, self.group_size, -1, -1, -1)
        own = responses.reshape(self.groups, self.group_size, *responses.shape[1:])
        return torch.cat([per_group, own], dim=3).flatten(1, 2)

    def hidden(self, dtype: torch.dtype) -> Tensor | None:
        """(B, 1, 1, P), -inf at padding of prompts; None where there is no padding."""
        if self._prompt_at is None:
            return None
        if dtype not in self._hidden:
            zeros = torch.zeros(self.prompt_mask.shape, dtype=dtype, device=self.prompt_mask.device)
            self._hidden[dtype] = zeros.masked_fill_(~self.prompt_mask, -torch.inf)[:, None, None]
        return self._hidden[dtype]

    def mask(self, dtype: torch.dtype) -> Tensor:
        """(B or 1, 1, R, P + R), added to the scores: a response token sees its prompt, and its response up to itself."""
        if dtype not in self._masks:
            rows = self.prompt_mask[:1] if bool(self.prompt_mask.all()) else self.prompt_mask
            length = self.response_mask.shape[1]
            own = torch.ones(length, length, dtype=torch.bool, device=rows.device).tril()
            seen = torch.cat([rows[:, None].expand(-1, length, -1), own.expand(len(rows), -1, -1)], dim=2)
            blocked = torch.zeros(seen.shape, dtype=dtype, device=rows.device).masked_fill_(~seen, -torch.inf)
            self._masks[dtype] = blocked[:, None]
        return self._masks[dtype]


@dataclass
class Pack:
    """A packed row on its way through the model, and where its log-probs come from."""

    layout: Layout
    position_ids: Tensor  # (3, 1, L) M-RoPE
    input_ids: Tensor  # (1, L)
    picture: Tensor  # (1, L) bool: an image token of a prompt
    predictor: Tensor  # (T,) for each response token, the place in the row that predicts it

    @classmethod
    def of(cls, prompts: PromptBatch, responses: ResponseBatch, image_token: int) -> "Pack":
        """Packs B left-padded prompts and N = B x G right-padded responses."""
        seen, sampled = prompts.attention_mask.bool(), responses.mask.bool()
        read = sampled[:, 1:]  # a token is read when another one follows it
        layout = Layout(_left_aligned(seen), read)
        device = seen.device
        group = torch.arange(len(sampled), device=device) // layout.group_size
        start = prompts.next_position[group, None] + torch.arange(read.shape[1], device=device)
        picture = (prompts.input_ids == image_token)[seen]
        ids = torch.cat([prompts.input_ids[seen], responses.input_ids[:, :-1][read]])
        positions = torch.cat([prompts.position_ids[:, seen], start[read].expand(3, -1)], dim=1)
        last = seen.sum(1).cumsum(0) - 1  # of each prompt, in the row
        before = torch.full(sampled.shape, 0, device=device)
        before[:, 0] = last[group]
        before[:, 1:][read] = layout.prompt_tokens + torch.arange(int(read.sum()), device=device)
        blank = torch.zeros(len(ids) - len(picture), dtype=torch.bool, device=device)
        return cls(layout, positions[:, None], ids[None], torch.cat([picture, blank])[None], before[sampled])


def _indices(mask: Tensor) -> Tensor | None:
    """(B, P) -> the places of its tokens when flattened, or None when there is no padding."""
    return None if bool(mask.all()) else mask.flatten().nonzero()[:, 0]


def _left_aligned(mask: Tensor) -> Tensor:
    """Padding on the left -> padding on the right."""
    return torch.arange(mask.shape[1], device=mask.device) < mask.sum(1, keepdim=True)


def _pad(packed: Tensor, at: Tensor | None, shape: torch.Size) -> Tensor:
    """(tokens, heads, D) -> (*shape, heads, D), zeros at padding."""
    if at is not None:
        packed = packed.new_zeros(shape.numel(), *packed.shape[1:]).index_copy(0, at, packed)
    return packed.reshape(*shape, *packed.shape[1:])


def _unpad(padded: Tensor, at: Tensor | None) -> Tensor:
    """(B, P, heads, D) -> (tokens, heads, D)."""
    flat = padded.flatten(0, 1)
    return flat if at is None else flat.index_select(0, at)
