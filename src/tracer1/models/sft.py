"""SFTModule: supervised fine-tuning on expert plans, the cold start before GRPO. It knows nothing of rollouts or rewards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from tracer1.models.batch import PromptBatch, ResponseBatch, _OnDevice
from tracer1.models.options import ModelOptions
from tracer1.models.planner import OptimizerFactory, PlannerModule


@dataclass
class SFTBatch(_OnDevice):
    """B prompts with the expert's response to each."""

    prompts: PromptBatch
    responses: ResponseBatch
    place: Tensor  # (B, R) 1 for tokens that write a place on the screen


class SFTModule(PlannerModule):
    """Next-token prediction on expert plans; tokens that write a place can weigh more.

    The digits of a place are a few of a plan's many tokens, and the format drowns them unless they weigh more.

    Args:
        path: The model's folder or hub name.
        prompt: Keyword arguments of PromptEncoder.
        optimizer: Makes the optimizer from the parameters.
        place_weight: Weight of place tokens; all others weigh 1.
        warmup: Updates until the full learning rate.
        decay: Share of the run's end over which the learning rate falls to zero (cosine); 0 keeps it constant.
        options: How the model is held and tuned.
    """

    def __init__(
        self,
        path: str,
        *,
        prompt: dict[str, Any],
        optimizer: OptimizerFactory,
        place_weight: float = 1.0,
        warmup: int = 100,
        decay: float = 0.5,
        options: ModelOptions | None = None,
    ) -> None:
        super().__init__(path, prompt=prompt, optimizer=optimizer, options=options)
        self.place_weight, self.warmup, self.decay = place_weight, warmup, decay
        self._sums: Tensor | None = None

    def training_step(self, batch: SFTBatch, batch_idx: int) -> Tensor:
        """The weighted mean of the tokens' negative log-likelihood, in nats."""
        logprobs, _ = self.forward_groups(self.model, batch.prompts, batch.responses)
        mask, place = batch.responses.mask, batch.place
        weights = mask * (1 + (self.place_weight - 1) * place)
        loss = -(logprobs * weights).sum() / weights.sum()
        nll = -logprobs.detach()
        sums = torch.stack([(nll * mask).sum(), mask.sum(), (nll * place).sum(), place.sum()]).double()
        self._sums = sums if self._sums is None else self._sums + sums
        return loss

    def pop_figures(self) -> dict[str, float]:
        """Token means since the last call, over all ranks, under their metric names."""
        sums, self._sums = self.trainer.strategy.reduce(self._sums, reduce_op="sum").tolist(), None
        return {"sft/loss": sums[0] / sums[1], "sft/place_loss": sums[2] / max(1.0, sums[3])}

    def configure_optimizers(self) -> dict[str, Any]:
        """Linear warm-up, then constant, then cosine to zero."""
        optimizer = super().configure_optimizers()
        total = self.trainer.estimated_stepping_batches
        schedule = LambdaLR(optimizer, lambda update: warmup_constant_decay(update, total, self.warmup, self.decay))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_constant_decay(update: int, total: int, warmup: int, decay: float) -> float:
    """The learning rate's factor at an update, 0..1."""
    begin = total * (1 - decay)
    if update < warmup:
        return (update + 1) / warmup
    if decay == 0 or update < begin:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (update - begin) / (total - begin))))


def place_mask(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[float]:
    """1.0 for every token, given by its characters' (start, end), that overlaps a span; linear in both."""
    mask, at = [], 0
    for start, end in offsets:
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        mask.append(float(at < len(spans) and spans[at][0] < end))
    return mask
