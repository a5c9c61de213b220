"""PolicyModule: the planner that GRPO trains. It knows nothing of rewards, executors or data sets; a micro-batch is all it sees."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tracer1.algorithms.objective import Objective
from tracer1.models.batch import MicroBatch, PromptBatch, ResponseBatch
from tracer1.models.options import ModelOptions
from tracer1.models.planner import OptimizerFactory, PlannerModule
from tracer1.models.vision import picture_features


class PolicyModule(PlannerModule):
    """A Qwen3-VL under GRPO or one of its relatives (method, section 4).

    Args:
        path: The model's folder or hub name.
        prompt: Keyword arguments of PromptEncoder: horizon, style, max_prompt_tokens, pixels.
        optimizer: Makes the optimizer from the parameters.
        objective: The loss.
        options: How the model is held and tuned.
        top_p: Log-probs are those of the nucleus that sampling at top-p draws from; None = of the whole distribution.
    """

    def __init__(
        self,
        path: str,
        *,
        prompt: dict[str, Any],
        optimizer: OptimizerFactory,
        objective: Objective | None = None,
        options: ModelOptions | None = None,
        top_p: float | None = None,
    ) -> None:
        super().__init__(path, prompt=prompt, optimizer=optimizer, options=options)
        self.objective = objective or Objective()
        self.forward_groups.top_p = top_p
        self._sums: dict[str, Tensor] = {}

    def prepared(self, prompts: PromptBatch) -> PromptBatch:
        """On the policy's device; with the features of the pictures when the vision tower is frozen."""
        prompts = prompts.to(self.device)
        if self.tower_is_frozen and prompts.features is None:  # on all ranks, with pictures or without
            with torch.no_grad(), self.autocast():
                prompts = replace(prompts, features=self.through(partial(picture_features, self.model), prompts))
        return prompts

    def logprobs(self, prompts: PromptBatch, responses: ResponseBatch) -> Tensor:
        """(N, R) log-probs of the response tokens, without gradients."""
        with torch.no_grad(), self.autocast():
            return self.through(partial(self.forward_groups, self.model), prompts, responses)[0]

    def training_step(self, batch: MicroBatch, batch_idx: int) -> Tensor:
        """The loss of one micro-batch, scaled so that the update is the objective's mean over all of them."""
        logprobs, entropy = self.forward_groups(self.model, batch.prompts, batch.responses, entropy=True)
        mask, old = batch.responses.mask, batch.old_logprobs
        if old is None:  # the first update since sampling: the ratio is 1, its gradient is not
            old = logprobs.detach()
        if batch.engine_logprobs is not None:
            error = (logprobs.detach() - batch.engine_logprobs).abs()
            self._note({"rollout/logprob_error": error}, mask, "first")
        weight = None
        if batch.sampled_logprobs is not None:
            weight = self.objective.importance(old, batch.sampled_logprobs, mask)
            self._note({"rollout/importance_weight": weight}, mask, "weighted")
        losses, figures = self.objective.token_losses(logprobs, old, batch.ref_logprobs, batch.advantages, mask, weight)
        noted = {f"policy/{name}": value for name, value in {**figures, "loss": losses, "entropy": entropy}.items()}
        self._note(noted, mask, "all")
        return self.objective.reduce(losses, mask, batch.denominator, batch.parts)

    def _note(self, values: dict[str, Tensor], mask: Tensor, tokens: str) -> None:
        """Adds masked sums to the round's totals; `pop_figures` divides them by the tokens counted under `tokens`."""
        for name, value in {**{(n, tokens): v for n, v in values.items()}, ("", tokens): torch.ones_like(mask)}.items():
            total = torch.where(mask.bool(), value.detach(), torch.zeros_like(value)).sum().double()
            self._sums[name] = self._sums.get(name, 0) + total

    def pop_figures(self) -> dict[str, float]:
        """The round's token means over all micro-batches and ranks, under their metric names; the totals start anew."""
        sums, self._sums = self._sums, {}
        sums = {name: float(self.trainer.strategy.reduce(value, reduce_op="sum")) for name, value in sums.items()}
        return {name: value / sums["", tokens] for (name, tokens), value in sums.items() if name}
