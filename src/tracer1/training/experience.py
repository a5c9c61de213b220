"""THE loop: steps in, whole groups of scored rollouts out, one round per pass. Every stage is one call into a sibling package.

`Rounds` is the order of the stages, whatever a group is; `ExperienceStream` draws groups from recorded steps (`online.py` plays them).
It knows the seeds and the units (prompts, groups, updates), and nothing about what a stage does.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracer1.data.stream import StepStream
from tracer1.engines.rollout_file import rollout_path, rollout_seed, write_rollouts
from tracer1.errors import ConfigError
from tracer1.interfaces import Executor, RolloutEngine, Sampling
from tracer1.models.batch import MicroBatch
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import Reference
from tracer1.training.groups import Group, RewardFunction, flat, make_rollouts, records, regrouped, score
from tracer1.training.preparation import Preparation
from tracer1.training.ranks import agreed, rank, summed
from tracer1.training.round_figures import logprob_error, rollout_figures
from tracer1.training.round_rules import RoundRules
from tracer1.training.round_size import RoundSize

StageReporter = Callable[..., None]  # (stage, done=, total=, **figures)


class Rounds(ABC):
    """One pass over it is one round: draw and score groups, prepare them, then yield the round's micro-batches.

    It has a length, the same on every rank: without one Lightning would fetch a batch ahead and sample from stale weights. What a
    group is made of, and how its members are compared, a subclass says; a group has `tied`.

    Args:
        policy, reference: What is trained, and what it is held to; None where the objective has no KL.
        engine: Samples responses.
        reward: rollout -> total and terms.
        size: The units of a round.
        sampling: How responses are drawn.
        rules: Dynamic sampling, overlong shaping, log-prob gate, dump.
        seed: Of the sampling noise.
        report: Told which stage the round is in.
    """

    sampling_stage = "generating"  # whose time the speed of sampling is of

    def __init__(
        self,
        policy: PolicyModule,
        reference: Reference | None,
        engine: RolloutEngine,
        reward: RewardFunction,
        *,
        size: RoundSize,
        sampling: Sampling,
        rules: RoundRules | None = None,
        seed: int = 0,
        report: StageReporter = lambda stage, **figures: None,
    ) -> None:
        self.policy, self.engine, self.reward = policy, engine, reward
        self.size, self.sampling = size, sampling
        self.rules, self.seed, self.report = rules or RoundRules(), seed, report
        self.preparation = Preparation(policy, reference, size, sampling.max_tokens, report)
        self.round = 0
        self.figures: dict[str, float] = {}  # of the last round, under their metric names
        self.dropped_prompts = 0

    def __len__(self) -> int:
        return self.size.micro_batches_per_round

    def __iter__(self) -> Iterator[MicroBatch]:
        self.figures = {}
        groups, dropped = self._scored_groups()
        batches = self._timed("preparing", self.preparation.micro_batches, self._chunks(groups))
        groups = self._compared(groups, batches)
        self.preparation.add_denominators(batches)
        if self.rules.dump is not None:
            self._timed("dumping", self._dump, self._rows([*groups, *dropped]))
        self._summarise(groups, dropped, batches)
        self.round += 1  # before the first update: a checkpoint is only ever taken between rounds
        self.updates_began = time.perf_counter()
        for index, batch in enumerate(batches):
            self.report("updating", done=index, total=len(batches))
            yield batch

    # --- the stages, in order --------------------------------------------------------------------------------------------

    def _scored_groups(self) -> tuple[list[Any], list[Any]]:
        """This rank's groups of the round, and those that were drawn beside them and are not trained on.

        Dynamic sampling draws again for every group without signal, on all ranks until none lacks any.
        """
        wanted = self.size.prompts_per_rank
        telling, tied = [], []
        for _ in range(self.rules.max_draws):
            drawn = self._drawn_groups(wanted - len(telling))
            if self.rules.max_draws == 1:
                return drawn, []
            telling += [group for group in drawn if not group.tied]
            tied += [group for group in drawn if group.tied]
            if not summed([wanted - len(telling)], self.policy.device)[0]:
                break
        lacking = wanted - len(telling)
        return telling + tied[:lacking], tied[lacking:]

    @abstractmethod
    def _drawn_groups(self, count: int) -> list[Any]:
        """The next groups of this rank, sampled and scored. Every rank must call it, with 0 too."""

    @abstractmethod
    def _rows(self, groups: Sequence[Any]) -> list[Group]:
        """What is trained on of some groups: prompts with their rollouts."""

    def _chunks(self, groups: Sequence[Any]) -> list[list[Group]]:
        """The rows of each micro-batch: whole groups."""
        size = self.size.groups_per_micro_batch
        return [self._rows(groups[start : start + size]) for start in range(0, len(groups), size)]

    @abstractmethod
    def _compared(self, groups: Sequence[Any], batches: Sequence[MicroBatch]) -> list[Any]:
        """The groups with advantages, which are in the micro-batches then, too."""

    @abstractmethod
    def _figures(self, groups: Sequence[Any], dropped: int) -> tuple[dict[str, float], float]:
        """Figures over all ranks of what was drawn, `dropped` of which is not trained on; and the tokens that were sampled."""

    def _dump(self, rows: Sequence[Group]) -> None:
        number = self.round + 1
        write_rollouts(rollout_path(self.rules.dump, number, rank()), records(rows, number))

    # --- figures ---------------------------------------------------------------------------------------------------------

    def _timed(self, stage: str, run: Callable[..., Any], *args: Any) -> Any:
        self.report(stage, done=0, total=None)
        begin = time.perf_counter()
        result = agreed(run, *args)
        name = f"time/{stage}_s"
        self.figures[name] = self.figures.get(name, 0.0) + time.perf_counter() - begin
        return result

    def _summarise(self, groups: Sequence[Any], dropped: Sequence[Any], batches: Sequence[MicroBatch]) -> None:
        """The round's rollout figures over all ranks; stops the run when engine and trainer disagree."""
        figures, tokens = self._figures([*groups, *dropped], len(dropped))
        self.figures |= figures
        self.figures["rollout/tokens_per_s"] = tokens / self.figures[f"time/{self.sampling_stage}_s"]
        self.figures["data/dropped_prompts"] = summed([self.dropped_prompts], self.policy.device)[0]
        if all(batch.engine_logprobs is None for batch in batches):  # the policy compares them itself where it must
            rollouts = flat(row for chunk in self._chunks(groups) for row in chunk)
            self.figures["rollout/logprob_error"] = logprob_error(rollouts, batches, self.policy.device)
            self.rules.gate.check(self.figures["rollout/logprob_error"], self.round + 1)
        self.report(
            "preparing",
            reward=self.figures["reward/total"],
            tokens_per_s=self.figures["rollout/tokens_per_s"],
        )

    def end_round(self) -> dict[str, float]:
        """The round's figures, with the time that its updates took."""
        return {**self.figures, "time/updating_s": time.perf_counter() - self.updates_began}

    def check(self, figures: Mapping[str, float]) -> None:
        """Looks at what the updates found of engine and trainer; raises TrainingDiverged when the run must stop."""
        if "rollout/logprob_error" not in self.figures and "rollout/logprob_error" in figures:
            self.rules.gate.check(figures["rollout/logprob_error"], self.round)

    # --- where a run goes on from ----------------------------------------------------------------------------------------

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs to go on with the next round."""
        return {"round": self.round, "dropped_prompts": self.dropped_prompts}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Takes what `position` gave."""
        self.round, self.dropped_prompts = position["round"], position["dropped_prompts"]


class ExperienceStream(Rounds):
    """Rounds over recorded steps: a group is one prompt with its rollouts.

    Args:
        steps: This rank's endless training steps.
        executor: Acts on the first step of each plan (stage 2); None runs nothing (stage 1).
        parts: The arguments of `Rounds`.
    """

    def __init__(self, steps: StepStream, *args: Any, executor: Executor | None = None, **parts: Any) -> None:
        super().__init__(*args, **parts)
        self.steps, self.executor = steps, executor
        self._times_drawn: Counter[str] = Counter()  # of each step's key, in this round

    def __iter__(self) -> Iterator[MicroBatch]:
        self._times_drawn.clear()
        return super().__iter__()

    def _drawn_groups(self, count: int) -> list[Group]:
        groups = self._timed("drawing", self._draw, count)
        groups = self._timed("generating", self._sample, groups)
        if self.executor is not None:
            groups = self._timed("executing", self._execute, groups)
            self.rules.faults.check(flat(groups), self.policy.device)
        return self._timed("scoring", self._score, groups)

    def _draw(self, count: int) -> list[Group]:
        """This rank's next steps with their prompts; a prompt over the token limit is dropped, counted, and replaced."""
        groups: list[Group] = []
        while len(groups) < count:
            step = next(self.steps)
            prompt = self.policy.encoder.encode(step)
            if prompt is None:
                self._drop()
            else:
                groups.append(Group(step, prompt, self._seeds(prompt.key)))
        return groups

    def _drop(self) -> None:
        self.dropped_prompts += 1
        if self.dropped_prompts > 1000 + 100 * self.size.prompts_per_rank * (self.round + 1):
            raise ConfigError(
                f"{self.dropped_prompts} prompts had more than {self.policy.encoder.max_prompt_tokens} tokens, next to none "
                "had fewer. Raise model.prompt.max_prompt_tokens or lower model.prompt.pixels."
            )

    def _seeds(self, key: str) -> tuple[int, ...]:
        """Of one group; a step that comes again within a round (its epoch has ended) is answered with other noise."""
        again = (self._times_drawn[key],) if key in self._times_drawn else ()
        self._times_drawn[key] += 1
        return tuple(rollout_seed(self.seed, self.round, key, i, *again) for i in range(self.size.group_size))

    def _sample(self, groups: Sequence[Group]) -> list[Group]:
        """The engine's responses as plans."""
        steps, prompts = [group.step for group in groups], [group.prompt for group in groups]
        with self.engine.serving(self.policy):  # every rank, even one that lacks no group: weights may be gathered here
            responses = (
                self.engine.generate(prompts, self.sampling, [group.seeds for group in groups]) if groups else []
            )
        return regrouped(groups, make_rollouts(steps, prompts, responses) if groups else [])

    def _execute(self, groups: Sequence[Group]) -> list[Group]:
        rollouts = flat(groups)
        outcomes = self.executor.execute(rollouts) if rollouts else []
        return regrouped(groups, [replace(r, outcome=o) for r, o in zip(rollouts, outcomes, strict=True)])

    def _score(self, groups: Sequence[Group]) -> list[Group]:
        rollouts = score(flat(groups), self.reward)
        if self.rules.overlong is not None:
            rollouts = self.rules.overlong.apply(rollouts)
        return regrouped(groups, rollouts)

    def _rows(self, groups: Sequence[Group]) -> list[Group]:
        return list(groups)

    def _compared(self, groups: Sequence[Group], batches: Sequence[MicroBatch]) -> list[Group]:
        return self.preparation.add_advantages(groups, batches)

    def _figures(self, groups: Sequence[Group], dropped: int) -> tuple[dict[str, float], float]:
        figures, tokens = rollout_figures(groups, dropped, self.policy.device)
        return {**figures, "data/epoch": float(self.steps.epoch)}, tokens

    def position(self) -> dict[str, Any]:
        """With the place in the data."""
        return {**super().position(), "steps": self.steps.state_dict()}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Takes what `position` gave."""
        super().restore(position)
        self.steps.load_state_dict(position["steps"])
