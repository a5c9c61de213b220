"""THE loop: steps in, whole groups of scored rollouts out, one round per pass. Every stage is one call into a sibling package.

It knows the order of the stages, the seeds and the units (prompts, groups, updates), and nothing about what a stage does.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch

from tracer1.algorithms.grpo import group_advantages
from tracer1.data.stream import StepStream
from tracer1.errors import ConfigError
from tracer1.interfaces import Executor, RolloutEngine, Sampling
from tracer1.models.batch import MicroBatch, PromptBatch, ResponseBatch
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import ReferenceModule
from tracer1.parsing import parse_plan
from tracer1.schema import Prompt, Response, Rollout, Step
from tracer1.training.ranks import agreed, summed

RewardFunction = Callable[[Rollout], tuple[float, dict[str, float]]]
StageReporter = Callable[..., None]  # (stage, done=, total=, **figures)


@dataclass(frozen=True, slots=True)
class RoundSize:
    """The units of a round (method, section 4), over all ranks; one group is one prompt with its rollouts.

    Raises:
        ConfigError: numbers that do not divide each other.
    """

    prompts_per_round: int = 512
    prompts_per_update: int = 128
    group_size: int = 5  # n
    groups_per_micro_batch: int = 1  # of one rank
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise ConfigError(f"algorithm.group_size={self.group_size}: a group needs at least 2 rollouts to compare.")
        for whole, part, names in (
            (self.prompts_per_round, self.prompts_per_update, "prompts_per_round by algorithm.prompts_per_update"),
            (
                self.prompts_per_update,
                self.groups_per_micro_batch * self.world_size,
                "prompts_per_update by groups_per_micro_batch x ranks",
            ),
        ):
            if part < 1 or whole % part:
                raise ConfigError(f"algorithm.{names}: {whole} is not divisible by {part}. Give a multiple of it.")

    @property
    def prompts_per_rank(self) -> int:
        return self.prompts_per_round // self.world_size

    @property
    def micro_batches_per_update(self) -> int:
        """What one rank accumulates before an optimizer update."""
        return self.prompts_per_update // (self.groups_per_micro_batch * self.world_size)

    @property
    def micro_batches_per_round(self) -> int:
        return self.prompts_per_rank // self.groups_per_micro_batch


def rollout_seed(*parts: int | str) -> int:
    """A 63-bit seed from (seed, round, key, i): every response has its own noise, and the same one in every repetition."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class ExperienceStream:
    """One pass over it is one round: sample, execute, score, then yield the round's micro-batches.

    It has a length, the same on every rank: without one Lightning would fetch a batch ahead and sample from stale weights.

    Args:
        steps: This rank's endless training steps.
        policy, reference: What is trained, and what it is held to.
        engine: Samples responses.
        reward: rollout -> total and terms.
        executor: Acts on the first step of each plan (stage 2); None runs nothing (stage 1).
        size: The units of a round.
        sampling: How responses are drawn.
        seed: Of the sampling noise.
        report: Told which stage the round is in.
    """

    def __init__(
        self,
        steps: StepStream,
        policy: PolicyModule,
        reference: ReferenceModule,
        engine: RolloutEngine,
        reward: RewardFunction,
        *,
        executor: Executor | None = None,
        size: RoundSize,
        sampling: Sampling,
        seed: int = 0,
        report: StageReporter = lambda stage, **figures: None,
    ) -> None:
        self.steps, self.policy, self.reference, self.engine = steps, policy, reference, engine
        self.reward, self.executor, self.size, self.sampling = reward, executor, size, sampling
        self.seed, self.report = seed, report
        self.round = 0
        self.figures: dict[str, float] = {}  # of the last round, under their metric names
        self.dropped_prompts = 0

    def __len__(self) -> int:
        return self.size.micro_batches_per_round

    def __iter__(self) -> Iterator[MicroBatch]:
        self.figures = {}
        steps, prompts = self._timed("drawing", self._draw)
        rollouts = self._timed("generating", self._sample, steps, prompts)
        if self.executor is not None:
            rollouts = self._timed("executing", self._execute, rollouts)
        rollouts = self._timed("scoring", self._score, rollouts)
        batches = self._count_tokens(self._timed("preparing", self._prepare, prompts, rollouts))
        self._summarise(rollouts, batches)
        self.round += 1  # before the first update: a checkpoint is only ever taken between rounds
        self._begin_updates()
        for index, batch in enumerate(batches):
            self.report("updating", done=index, total=len(batches))
            yield batch

    # --- the stages, in order --------------------------------------------------------------------------------------------

    def _draw(self) -> tuple[list[Step], list[Prompt]]:
        """This rank's steps with their prompts; a prompt over the token limit is dropped, counted, and replaced."""
        steps, prompts = [], []
        while len(steps) < self.size.prompts_per_rank:
            step = next(self.steps)
            prompt = self.policy.encoder.encode(step)
            if prompt is None:
                self._drop()
                continue
            steps.append(step)
            prompts.append(prompt)
        return steps, prompts

    def _drop(self) -> None:
        self.dropped_prompts += 1
        if self.dropped_prompts > 1000 + 100 * self.size.prompts_per_rank * (self.round + 1):
            raise ConfigError(
                f"{self.dropped_prompts} prompts had more than {self.policy.encoder.max_prompt_tokens} tokens, next to none "
                "had fewer. Raise model.prompt.max_prompt_tokens or lower model.prompt.pixels."
            )

    def _sample(self, steps: Sequence[Step], prompts: Sequence[Prompt]) -> list[Rollout]:
        """The engine's responses as plans, group-adjacent."""
        seeds = [
            [rollout_seed(self.seed, self.round, prompt.key, i) for i in range(self.size.group_size)]
            for prompt in prompts
        ]
        with self.engine.serving(self.policy):
            responses = self.engine.generate(prompts, self.sampling, seeds)
        return make_rollouts(steps, prompts, responses)

    def _execute(self, rollouts: Sequence[Rollout]) -> list[Rollout]:
        outcomes = self.executor.execute(rollouts)
        return [replace(r, outcome=outcome) for r, outcome in zip(rollouts, outcomes, strict=True)]

    def _score(self, rollouts: Sequence[Rollout]) -> list[Rollout]:
        scored = score(rollouts, self.reward)
        rewards = torch.tensor([r.reward for r in scored], dtype=torch.float64)
        advantages = group_advantages(rewards, self.size.group_size).tolist()
        return [replace(r, advantage=advantage) for r, advantage in zip(scored, advantages, strict=True)]

    def _prepare(self, prompts: Sequence[Prompt], rollouts: Sequence[Rollout]) -> list[MicroBatch]:
        """Whole groups, collated once, with old and reference log-probs from this very packing (else the ratio is not 1)."""
        size, device = self.size, self.policy.device
        batches = []
        for start in range(0, len(prompts), size.groups_per_micro_batch):
            stop = start + size.groups_per_micro_batch
            batch = self._collate(prompts[start:stop], rollouts[start * size.group_size : stop * size.group_size])
            inputs, responses = batch.prompts.to(device), batch.responses.to(device)
            batch.old_logprobs = self.policy.logprobs(inputs, responses).cpu()
            batch.ref_logprobs = self.reference.to(device).logprobs(inputs, responses).cpu()
            batches.append(batch)
            self.report("scoring", done=stop, total=len(prompts))
        return batches

    def _collate(self, prompts: Sequence[Prompt], rollouts: Sequence[Rollout]) -> MicroBatch:
        backbone = self.policy.backbone
        responses = ResponseBatch.collate([r.response.token_ids for r in rollouts], backbone.pad_id)
        return MicroBatch(
            PromptBatch.collate(prompts, backbone.pad_id, backbone.rope_index),
            responses,
            torch.tensor([r.advantage for r in rollouts], dtype=torch.float32),
            torch.empty(0),
            torch.empty(0),
            update_tokens=0,
            parts=self.size.micro_batches_per_update * self.size.world_size,
        )

    def _count_tokens(self, batches: list[MicroBatch]) -> list[MicroBatch]:
        """Writes into every micro-batch how many response tokens its whole update has, over all ranks."""
        per_update = self.size.micro_batches_per_update
        counts = [
            sum(int(b.responses.mask.sum()) for b in batches[i : i + per_update])
            for i in range(0, len(batches), per_update)
        ]
        counts = summed(counts, self.policy.device)
        for index, batch in enumerate(batches):
            batch.update_tokens = int(counts[index // per_update])
        return batches

    # --- figures ---------------------------------------------------------------------------------------------------------

    def _timed(self, stage: str, run: Callable[..., Any], *args: Any) -> Any:
        self.report(stage, done=0, total=None)
        begin = time.perf_counter()
        result = agreed(run, *args)
        self.figures[f"time/{stage}_s"] = time.perf_counter() - begin
        return result

    def _summarise(self, rollouts: Sequence[Rollout], batches: Sequence[MicroBatch]) -> None:
        """The round's rollout figures, means over all ranks."""
        figures = {"reward/total": fmean(r.reward for r in rollouts)}
        for name in rollouts[0].terms:
            figures[f"reward/{name}"] = fmean(r.terms[name] for r in rollouts)
        lengths = [len(r.response.token_ids) for r in rollouts]
        groups = torch.tensor([r.reward for r in rollouts]).view(-1, self.size.group_size)
        figures["rollout/response_length"] = fmean(lengths)
        figures["rollout/truncated"] = fmean(r.response.truncated for r in rollouts)
        figures["rollout/ties"] = float((groups == groups[:, :1]).all(1).float().mean())
        sums = [*figures.values(), logprob_difference(rollouts, batches), sum(lengths), self.dropped_prompts]
        *totals, difference, tokens, dropped = summed(sums, self.policy.device)
        self.figures |= {name: total / self.size.world_size for name, total in zip(figures, totals, strict=True)}
        self.figures["rollout/logprob_error"] = difference / tokens
        self.figures["rollout/tokens_per_s"] = tokens / self.figures["time/generating_s"]
        self.figures["data/dropped_prompts"] = dropped
        self.figures["data/epoch"] = float(self.steps.epoch)
        self.report(
            "scoring",
            reward=self.figures["reward/total"],
            tokens_per_s=self.figures["rollout/tokens_per_s"],
        )

    def _begin_updates(self) -> None:
        self.updates_began = time.perf_counter()

    def end_round(self) -> dict[str, float]:
        """The round's figures, with the time that its updates took."""
        return {**self.figures, "time/updating_s": time.perf_counter() - self.updates_began}

    # --- where a run goes on from ----------------------------------------------------------------------------------------

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs to go on with the next round."""
        return {"round": self.round, "dropped_prompts": self.dropped_prompts, "steps": self.steps.state_dict()}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Takes what `position` gave."""
        self.round, self.dropped_prompts = position["round"], position["dropped_prompts"]
        self.steps.load_state_dict(position["steps"])


def make_rollouts(steps: Sequence[Step], prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[Rollout]:
    """Group-adjacent responses with their steps and parsed plans."""
    group_size = len(responses) // len(steps)
    return [
        Rollout(steps[i // group_size], response, parse_plan(response.text, prompts[i // group_size].starts_in_think))
        for i, response in enumerate(responses)
    ]


def logprob_difference(rollouts: Sequence[Rollout], batches: Sequence[MicroBatch]) -> float:
    """The sum of |engine - trainer| over the log-probs of all sampled tokens."""
    engine = torch.tensor([logprob for r in rollouts for logprob in r.response.logprobs], dtype=torch.float64)
    trainer = torch.cat([b.old_logprobs[b.responses.mask.bool()] for b in batches])
    return float((engine - trainer).abs().sum())


def score(rollouts: Sequence[Rollout], reward: RewardFunction) -> list[Rollout]:
    """Fills in the reward and its terms."""
    scored = []
    for rollout in rollouts:
        total, terms = reward(rollout)
        scored.append(replace(rollout, reward=total, terms=terms))
    return scored
