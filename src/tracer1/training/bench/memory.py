"""The memory that log-probs need beside hidden states and weights: in blocks as tracer1 computes them, or with the full logits.

It is run in a process of its own by `children.Side`; one setting for each turn of the gate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tracer1.models.head import token_scores
from tracer1.training.bench.children import Gate, held_memory

WIDTH = 64  # of the hidden states: small, so that what is measured is not the head's own weights


@dataclass(frozen=True, slots=True)
class Logits:
    """T response tokens over a vocabulary of V."""

    tokens: int
    vocabulary: int
    blocks: bool  # tracer1's way, or the full logits

    @property
    def full_mib(self) -> float:
        """One float32 copy of all logits."""
        return self.tokens * self.vocabulary * 4 / 2**20


def run(gate: Gate, settings: list[Logits], device: str) -> None:
    """Forward and backward of each setting; facts: the memory held before it."""
    for setting in settings:
        hidden = torch.randn(setting.tokens, WIDTH, device=device, requires_grad=True)
        head = torch.nn.Linear(WIDTH, setting.vocabulary, bias=False, device=device)
        targets = torch.randint(setting.vocabulary, (setting.tokens,), device=device)
        gate.facts = {"held_mib": held_memory(device) / 2**20}
        if not gate.turn():
            return
        logprobs = token_scores(head, hidden, targets).logprobs if setting.blocks else full(head, hidden, targets)
        logprobs.sum().backward()
        del hidden, head, targets, logprobs
    gate.turn()


def full(head: torch.nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """(T,) log-probs by way of all logits at once."""
    return head(hidden).float().log_softmax(-1).gather(-1, targets[:, None])[:, 0]
