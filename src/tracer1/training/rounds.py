"""A round, whatever its groups are: draw and score, share out, prepare, then yield the micro-batches. Every stage is one call into a
sibling package.

What a group is made of its subclasses say: `experience.py` draws groups from recorded steps, `online.py` plays them. It knows the
order of the stages and the units (prompts, groups, updates), and nothing about what a stage does.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tracer1.engines.rollout_file import rollout_path, write_rollouts
from tracer1.interfaces import RolloutEngine, Sampling
from tracer1.models.batch import MicroBatch
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import Reference
from tracer1.schema import Rollout
from tracer1.training.balancing import balance, padded_tokens
from tracer1.training.groups import Group, RewardFunction, flat, records
from tracer1.training.preparation import Preparation
from tracer1.training.ranks import agreed, gathered, rank, several, summed
from tracer1.training.round_figures import logprob_error
from tracer1.training.round_rules import RoundRules
from tracer1.training.round_size import RoundSize
from tracer1.training.straggling import straggler

StageReporter = Callable[..., None]  # (stage, done=, total=, **figures)


class Rounds(ABC):
    """One pass over it is one round: draw and score groups, share them out, prepare them, then yield the round's micro-batches.

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
        corrected = bool(self.rules.staleness) and not policy.objective.on_engine
        self.preparation = Preparation(policy, reference, size, sampling.max_tokens, report, corrected)
        self.round = 0
        self.figures: dict[str, float] = {}  # of the last round, under their metric names
        self._busy_s: dict[str, float] = {}  # of each stage of the round: until this rank's share was done
        self.dropped_prompts = 0

    def __len__(self) -> int:
        return self.size.micro_batches_per_round

    def __iter__(self) -> Iterator[MicroBatch]:
        self.figures, self._busy_s = {}, {}
        groups, dropped = self._scored_groups()
        if several():
            groups = self._timed("balancing", self._balanced, groups)
        chunks = self._chunks(groups)
        batches = self._timed("preparing", self.preparation.micro_batches, chunks)
        groups = self._compared(groups, batches)
        self.preparation.add_denominators(batches)
        if self.rules.dump is not None:
            self._timed("dumping", self._dump, self._rows([*groups, *dropped]))
        self._summarise([*groups, *dropped], len(dropped), batches, flat(row for chunk in chunks for row in chunk))
        self.round += 1  # before the first update: a checkpoint is only ever taken between rounds
        self._look_ahead()
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

    def _balanced(self, groups: Sequence[Any]) -> list[Any]:
        """As many groups, which take this rank about as long as the others' take them."""
        costs = [padded_tokens(self._trained([group])) for group in groups]
        groups, figures = balance(groups, costs, self.size.prompts_per_update // self.size.world_size)
        self.figures |= figures
        return groups

    @abstractmethod
    def _drawn_groups(self, count: int) -> list[Any]:
        """The next groups of this rank, sampled and scored. Every rank must call it, with 0 too."""

    def _look_ahead(self) -> None:  # noqa: B027
        """Before the updates: what may begin for the next round. Nothing need."""

    @abstractmethod
    def _rows(self, groups: Sequence[Any]) -> list[Group]:
        """The prompts of some groups with their rollouts."""

    def _trained(self, groups: Sequence[Any]) -> list[Group]:
        """The rows with what of them is trained on."""
        return self._rows(groups)

    def _chunks(self, groups: Sequence[Any]) -> list[list[Group]]:
        """What each micro-batch trains on: whole groups."""
        return [self._trained(part) for part in self._parts(groups)]

    def _parts(self, groups: Sequence[Any]) -> list[Sequence[Any]]:
        """The groups of each micro-batch."""
        size = self.size.groups_per_micro_batch
        return [groups[start : start + size] for start in range(0, len(groups), size)]

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

        def busy() -> Any:
            try:
                return run(*args)
            finally:
                self._busy_s[stage] = self._busy_s.get(stage, 0.0) + time.perf_counter() - begin
                if several():
                    self.report(stage, waiting=True)

        result = agreed(busy)
        name = f"time/{stage}_s"
        self.figures[name] = self.figures.get(name, 0.0) + time.perf_counter() - begin
        return result

    def _summarise(
        self, groups: Sequence[Any], dropped: int, batches: Sequence[MicroBatch], trained: Sequence[Rollout]
    ) -> None:
        """The round's rollout figures over all ranks; stops the run when engine and trainer disagree.

        Args:
            groups: All that were drawn, `dropped` of which are not trained on.
            batches, trained: What is trained on, and the rollouts that are in it.
        """
        figures, tokens = self._figures(groups, dropped)
        self.figures |= figures
        self.figures["rollout/tokens_per_s"] = tokens / self._sampling_s()
        self.figures["data/dropped_prompts"] = summed([self.dropped_prompts], self.policy.device)[0]
        if all(batch.engine_logprobs is None for batch in batches):  # the policy compares them itself where it must
            self.figures["rollout/logprob_error"] = logprob_error(trained, batches, self.policy.device)
            self.rules.gate.check(self.figures["rollout/logprob_error"], self.round + 1)
        if several():
            slow = straggler(gathered(self._busy_s))
            self.figures["time/straggler_s"] = slow.behind_s
            if rank() == 0:
                slow.warn(self.round + 1)
        self.report(
            "preparing",
            reward=self.figures["reward/total"],
            tokens_per_s=self.figures["rollout/tokens_per_s"],
        )

    def _sampling_s(self) -> float:
        return self.figures[f"time/{self.sampling_stage}_s"]

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

    def take_over(self, positions: Sequence[Mapping[str, Any]]) -> None:
        """Takes what `position` gave on each of another number of ranks."""
        dropped = sum(position["dropped_prompts"] for position in positions)
        self.round, self.dropped_prompts = positions[0]["round"], dropped if rank() == 0 else 0
