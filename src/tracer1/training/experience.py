"""THE loop: steps in, whole groups of scored rollouts out, one round per pass. Every stage is one call into a sibling package.

`rounds.py` has the order of the stages, whatever a group is; `ExperienceStream` draws groups from recorded steps (`online.py` plays
them). It knows the seeds of the sampling noise, and nothing about what a stage does.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracer1.data.stream import StepStream
from tracer1.engines.rollout_file import rollout_seed
from tracer1.errors import ConfigError
from tracer1.interfaces import Executor
from tracer1.models.batch import MicroBatch
from tracer1.training.groups import Group, flat, make_rollouts, regrouped, score
from tracer1.training.round_figures import rollout_figures
from tracer1.training.rounds import Rounds


class ExperienceStream(Rounds):
    """Rounds over recorded steps: a group is one prompt with its rollouts.

    Args:
        steps: This rank's endless training steps.
        executor: Acts on the first step of each plan (stage 2); None runs nothing (stage 1).
        rounds: After how many nothing is sampled ahead any more; None for no end.
        parts: The arguments of `Rounds`; with `rules.staleness` the engine is an AheadEngine.
    """

    def __init__(
        self,
        steps: StepStream,
        *args: Any,
        executor: Executor | None = None,
        rounds: int | None = None,
        **parts: Any,
    ) -> None:
        super().__init__(*args, **parts)
        self.steps, self.executor, self.rounds = steps, executor, rounds
        self._times_drawn: Counter[str] = Counter()  # of each step's key, in this round

    def __iter__(self) -> Iterator[MicroBatch]:
        self._times_drawn.clear()
        return super().__iter__()

    def _drawn_groups(self, count: int) -> list[Group]:
        drawn = self.engine.groups() if self.rules.staleness else None
        groups = self._timed("drawing", self._draw, count) if drawn is None else drawn
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
        if self.rules.staleness:
            responses = self.engine.take(groups, self.policy.device)
            self.figures["rollout/staleness"] = float(responses is not None)
            if responses is not None:
                return regrouped(groups, make_rollouts(steps, prompts, responses))
        with self.engine.serving(self.policy):  # every rank, even one that lacks no group: weights may be gathered here
            responses = (
                self.engine.generate(prompts, self.sampling, [group.seeds for group in groups]) if groups else []
            )
        return regrouped(groups, make_rollouts(steps, prompts, responses) if groups else [])

    def _look_ahead(self) -> None:
        if not self.rules.staleness or self.round == self.rounds:
            return
        before = self._place()
        self._times_drawn.clear()
        groups = self._timed("drawing", self._draw, self.size.prompts_per_rank)
        self._timed("pushing", self.engine.begin, self.policy, groups, self.sampling, before)

    def _sampling_s(self) -> float:
        return self.engine.sampling_s if self.figures.get("rollout/staleness") else super()._sampling_s()

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
        """With the place in the data, and what has been sampled ahead."""
        return self.engine.position(self._place()) if self.rules.staleness else self._place()

    def _place(self) -> dict[str, Any]:
        return {**super().position(), "steps": self.steps.state_dict()}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Takes what `position` gave."""
        super().restore(position)
        self.steps.load_state_dict(position["steps"])
        if self.rules.staleness:
            self.engine.restore(position)

    def take_over(self, positions: Sequence[Mapping[str, Any]]) -> None:
        """Takes what `position` gave on each of another number of ranks."""
        super().take_over(positions)
        self.steps.take_over([position["steps"] for position in positions])
        if self.rules.staleness:
            self.engine.restore(*positions)
