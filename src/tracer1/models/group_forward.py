"""Which path computes a group's log-probs: the shared prefix, checked on first use, or the plain one.

It knows nothing of losses. Both paths give the same figures; only their cost differs.
"""

import logging
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.dense import dense_logprobs
from tracer1.models.sharding import inside, is_spread
from tracer1.models.shared_prefix import response_logprobs

log = logging.getLogger(__name__)

# Mean |difference| of log-probs in nats above which the shared prefix is not trusted. Rounding alone: float32 1e-6, bfloat16 0.01.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.02}


@dataclass
class GroupForward:
    """Computes log-probs of whole groups.

    Args:
        shared: False takes the plain path always.
        min_prefix: Prompts of fewer tokens (in the mean of a micro-batch) take the plain path: sharing them saves nothing.
        top_p: See `head.token_scores`.
    """

    shared: bool = True
    min_prefix: int = 0
    top_p: float | None = None
    _trusted: bool | None = field(default=None, repr=False)  # None: not checked yet

    def __call__(
        self,
        model: Qwen3VLForConditionalGeneration,
        prompts: PromptBatch,
        responses: ResponseBatch,
        entropy: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probs (N, R) of response tokens and, if asked for, entropies (N, R); 0 at padding."""
        path = response_logprobs if self._shares(model, prompts, responses) else dense_logprobs
        return inside(model, partial(path, model), prompts, responses, entropy, self.top_p)

    def _shares(self, model: Qwen3VLForConditionalGeneration, prompts: PromptBatch, responses: ResponseBatch) -> bool:
        if not self.shared:
            return False
        short = int(prompts.attention_mask.sum()) < self.min_prefix * len(prompts.attention_mask)
        if self._trusted is None and (not short or is_spread(model)):  # no rank may check without the others
            self._trusted = self._check(model, prompts, responses)
        return bool(self._trusted) and not short

    def _check(self, model: Qwen3VLForConditionalGeneration, prompts: PromptBatch, responses: ResponseBatch) -> bool:
        """Compares both paths on the first group that this process sees."""
        groups = len(prompts.input_ids)
        first = ResponseBatch(*(part[: len(part) // groups] for part in (responses.input_ids, responses.mask)))
        alone = prompts.first(model.config.image_token_id)
        with torch.no_grad():
            shared, _ = inside(model, partial(response_logprobs, model), alone, first)
            dense, _ = inside(model, partial(dense_logprobs, model), alone, first)
        tokens = max(1.0, float(first.mask.sum()))
        difference = float((shared - dense).abs().sum()) / tokens
        allowed = TOLERANCE[_computed_in(model)]
        if difference <= allowed:  # not a number is not trusted either
            return True
        log.warning(
            "The shared prefix is off: on one group its log-probs differ from the plain path's by %.2g nats in the mean "
            "(allowed: %.2g), %.2g at most. Training goes on by the plain path, more slowly; model.shared_prefix=false "
            "silences this.",
            difference,
            allowed,
            float((shared - dense).abs().max()),
        )
        return False


def _computed_in(model: Qwen3VLForConditionalGeneration) -> torch.dtype:
    """What is rounded to: autocast's type in mixed precision, else the weights'."""
    weight = next(model.parameters())
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
