"""Scored groups -> micro-batches: collated once, with old and reference log-probs, advantages and denominators.

It knows the objective's needs and the units of a round, and nothing of sampling, rewards or optimizers. All of an objective's
inputs are made here, in this order: log-probs first, because a KL in the reward is part of what the advantages compare.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracer1.models.batch import MicroBatch, PromptBatch, ResponseBatch
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import Reference
from tracer1.training.groups import Group, flat
from tracer1.training.ranks import gathered, rank, summed
from tracer1.training.round_size import RoundSize


@dataclass(frozen=True, slots=True)
class Preparation:
    """Makes one rank's micro-batches of a round.

    Args:
        policy, reference: What is trained, and what it is held to; no reference, no KL.
        size: The units of a round.
        max_tokens: The longest a response may be.
        report: Told how far it is.
        corrected: Whether older weights than the policy's may have sampled, see `Objective.importance`.
    """

    policy: PolicyModule
    reference: Reference | None
    size: RoundSize
    max_tokens: int
    report: Callable[..., None]
    corrected: bool = False

    def micro_batches(self, chunks: Sequence[Sequence[Group]]) -> list[MicroBatch]:
        """Each chunk's prompts with the log-probs that the objective needs, from this very packing (else the ratio is not 1)."""
        batches = [self._collate(chunk) for chunk in chunks]
        if self.policy.tower_is_frozen:  # what it makes of the pictures serves every pass of the round
            for batch in batches:
                batch.prompts = self.policy.prepared(batch.prompts).to("cpu")
        self._add_old(batches)
        self._add_reference(batches)
        return batches

    def _collate(self, groups: Sequence[Group]) -> MicroBatch:
        backbone, rollouts = self.policy.backbone, flat(groups)
        # a masked rollout keeps its row, without tokens: nothing of it is in the loss
        responses = ResponseBatch.collate([() if r.masked else r.response.token_ids for r in rollouts], backbone.pad_id)
        engine_logprobs = _padded([() if r.masked else r.response.logprobs for r in rollouts], responses.mask)
        return MicroBatch(
            PromptBatch.collate([group.prompt for group in groups], backbone.pad_id, backbone.rope_index),
            responses,
            advantages=torch.zeros(len(rollouts)),
            old_logprobs=None,
            ref_logprobs=None,
            engine_logprobs=engine_logprobs,
            denominator=1.0,
            parts=self.size.parts,
            sampled_logprobs=engine_logprobs if self.corrected else None,
        )

    def _add_old(self, batches: Sequence[MicroBatch]) -> None:
        """The old log-probs: the policy's own, the engine's, or none where the ratio is 1 by construction."""
        objective = self.policy.objective
        for index, batch in enumerate(batches):
            first_update = index < self.size.micro_batches_per_update
            if objective.old_pass(first_update):
                inputs, responses = self.policy.prepared(batch.prompts), batch.responses.to(self.policy.device)
                batch.old_logprobs = self.policy.logprobs(inputs, responses).cpu()
                self.report("preparing", done=index + 1, total=len(batches))
            elif objective.on_engine:
                batch.old_logprobs = batch.engine_logprobs
            if objective.old_pass(first_update=True) or not first_update:
                batch.engine_logprobs = None  # compared here already, or the weights will have moved on: see MicroBatch

    def _add_reference(self, batches: Sequence[MicroBatch]) -> None:
        if self.reference is None:
            return
        device = self.policy.device
        with self.reference.awake(device):
            for index, batch in enumerate(batches):
                inputs, responses = self.policy.prepared(batch.prompts), batch.responses.to(device)
                batch.ref_logprobs = self.reference.logprobs(inputs, responses).cpu()
                self.report("preparing", done=index + 1, total=len(batches))

    def add_advantages(self, groups: Sequence[Group], batches: Sequence[MicroBatch]) -> list[Group]:
        """Writes the advantages into the micro-batches; returns the groups with them. Every rank must call it."""
        rewards = torch.tensor([torch.nan if r.masked else r.reward for r in flat(groups)], dtype=torch.float64)
        rewards = rewards - self.kl_penalties(batches)
        advantages = self.advantages(rewards)
        for batch, own in zip(batches, advantages.split([len(b.advantages) for b in batches]), strict=True):
            batch.advantages = own.float()
        of_groups = advantages.view(len(groups), -1).tolist()
        return [group.with_advantages(own) for group, own in zip(groups, of_groups, strict=True)]

    def kl_penalties(self, batches: Sequence[MicroBatch]) -> Tensor:
        """(N,) what the KL takes off each response's reward; zeros where it is in the loss."""
        objective = self.policy.objective
        if objective.kl_in != "reward":
            return torch.zeros(sum(len(batch.advantages) for batch in batches), dtype=torch.float64)
        return torch.cat([objective.kl_penalty(b.old_logprobs, b.ref_logprobs, b.responses.mask) for b in batches])

    def advantages(self, rewards: Tensor) -> Tensor:
        """(N,) this rank's rewards, group-adjacent; NaN is masked -> (N,) advantages. Every rank must call it."""
        objective, n = self.policy.objective, self.size.group_size
        if not objective.over_the_round:  # a group lives on one rank
            return objective.response_advantages(rewards, n)
        ranks = gathered(rewards.tolist())
        everyone = torch.tensor([reward for own in ranks for reward in own], dtype=torch.float64)
        return objective.response_advantages(everyone, n).split([len(own) for own in ranks])[rank()]

    def add_denominators(self, batches: Sequence[MicroBatch]) -> None:
        """Writes into every micro-batch what its whole update is divided by, over all ranks. Every rank must call it."""
        per_update = self.size.micro_batches_per_update
        starts = range(0, len(batches), per_update)
        updates = [batches[i : i + per_update] for i in starts]
        tokens = [sum(int(b.responses.mask.sum()) for b in update) for update in updates]
        responses = [
            sum(int(b.responses.mask.any(1).sum()) for b in update) for update in updates
        ]  # masked ones have no token
        totals = summed([*tokens, *responses], self.policy.device)
        denominators = [
            self.policy.objective.denominator(count, int(sequences), self.max_tokens)
            for count, sequences in zip(totals[: len(updates)], totals[len(updates) :], strict=True)
        ]
        for index, batch in enumerate(batches):
            batch.denominator = denominators[index // per_update]


def _padded(rows: Sequence[Sequence[float]], mask: Tensor) -> Tensor:
    """(N, R) values, 0 at padding."""
    padded = torch.zeros_like(mask)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = torch.tensor(values)
    return padded
