"""What the offline benchmarks have in common: steps from shards in order, verdicts under several rules, figures over episodes.

A benchmark adds which step a rule is told (`gold`), what the owner makes of special steps (`judge`), and its figures. It knows nothing
of how answers are sampled.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from tracer1.actions import canonical_type
from tracer1.benchmarks._result import BenchmarkResult, Published
from tracer1.data.records import to_steps
from tracer1.data.shards import expand_urls, read_stored, read_trajectories
from tracer1.errors import ConfigError, DataError
from tracer1.metrics.action_lines import action_to_line, gold_to_line
from tracer1.metrics.episode_metrics import EpisodeFigures
from tracer1.metrics.episodes import ACTION_COLUMNS, Statistic, bootstrap_weights, columns_of
from tracer1.metrics.rules import Gold, Rule, Verdict, make_rule
from tracer1.registry import nearest
from tracer1.schema import Action, Rollout, Step

POINTS = ("planner", "executor")


@dataclass(frozen=True, slots=True)
class Episode:
    """One trajectory of the benchmark."""

    name: str  # the owner's id
    split: str
    due: int  # the steps that it should have
    meta: Mapping[str, Any]  # of its first step


@dataclass(kw_only=True)
class OfflineBenchmark:
    """Scores single steps against recorded ones.

    Args:
        shards: Paths, globs or URLs of the test split.
        rule: The rule whose figure is the headline, by its name within the benchmark.
        beside: Further rules for the same answers.
        settings: Rule -> its settings, e.g. `{os_atlas: {compat: true}}`.
        point: Whose action is scored: the `planner`'s first, or the one that a frozen `executor` made of it.
        history: Earlier steps that a prompt shows (K), as the expert did them.
        horizon: Expert steps that each step holds (T).
        draws: Bootstrap draws.
        seed: Of the bootstrap.

    Raises:
        ConfigError: a rule that does not exist or a setting that it does not have.
    """

    shards: Sequence[str]
    rule: str
    beside: Sequence[str] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    point: str = "planner"
    history: int = 4
    horizon: int = 10
    draws: int = 1000
    seed: int = 0

    name: ClassVar[str]
    family: ClassVar[str]  # of its rules
    headline: ClassVar[str]  # the metric of the headline
    dataset: ClassVar[str]  # what its steps are called in shards
    columns: ClassVar[tuple[str, ...]] = ACTION_COLUMNS
    published: ClassVar[Sequence[Published]] = ()

    def __post_init__(self) -> None:
        if self.point not in POINTS:
            hint = nearest(str(self.point), list(POINTS))
            raise ConfigError(f"benchmark.point is {self.point!r}; it is one of {', '.join(POINTS)}.{hint}")
        names = tuple(dict.fromkeys((self.rule, *self.beside)))
        for name in self.settings or ():
            if name not in names:
                hint = nearest(str(name), list(names))
                raise ConfigError(f"benchmark.settings names {name!r}, which is not scored.{hint}")
        self.rules: dict[str, Rule] = {
            name: make_rule(f"{self.family}.{name}", (self.settings or {}).get(name), f"benchmark.settings.{name}")
            for name in names
        }
        self.counts = {"unreadable": 0, "too_long": 0, "infra_errors": 0}
        try:
            self._urls, self._total = expand_urls(self.shards), 0
        except DataError as error:
            raise DataError(str(error).replace("data.sets", "benchmark.shards")) from error

    # --- what a benchmark says ---

    def gold(self, step: Step) -> Gold:
        """What the rules are told of a step."""
        return Gold(step.future[0].action, step.boxes, step.image_size)

    def kind(self, step: Step) -> str:
        """The kind under which a step's columns are filed."""
        return canonical_type(step.future[0].action.action_type)

    def judge(self, name: str, step: Step, predicted: Action | None) -> Verdict:
        """One rule's verdict."""
        return self.rules[name](self.gold(step), predicted)

    def parts(self, step: Step) -> tuple[str, ...]:
        """The parts of the steps, of `part_names`, whose columns this step adds to as well."""
        return ()

    def part_names(self) -> tuple[str, ...]:
        """Parts that do not consist of whole episodes."""
        return ()

    def due(self, steps: Sequence[Step]) -> int:
        """How many steps an episode should have, of which these are there."""
        return len(steps)

    def remark(self, step: Step, predicted: Action | None) -> None:
        """Counts what is reported beside the figures."""

    def figures(self, name: str) -> dict[str, Statistic]:
        """A rule's figures by their names."""
        raise NotImplementedError

    # --- what a run does ---

    @functools.cached_property
    def episodes(self) -> list[Episode]:
        """All episodes, in the order of the shards, read without their pictures being decoded."""
        found: dict[str, Episode] = {}
        for url in self._urls:
            for stored in read_stored(url, verify_images=False):
                record = stored[0].record
                name, dataset = record["trajectory"], record["dataset"]
                if dataset != self.dataset:
                    raise DataError(
                        f"{url} holds steps of {dataset!r}, and {self.name} is scored on {self.dataset!r}. Correct benchmark.shards."
                    )
                if name in found:
                    raise DataError(
                        f"The episode {name!r} stands in two shards; {url} is the second. Correct benchmark.shards."
                    )
                steps = to_steps(stored, 0, 1)
                found[name] = Episode(name, record["split"], self.due(steps), steps[0].meta)
                self._total += len(steps)
        return list(found.values())

    @property
    def total(self) -> int:
        """How many steps there are."""
        return self._total if self.episodes else 0

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """Episode -> its row."""
        return {episode.name: row for row, episode in enumerate(self.episodes)}

    @functools.cached_property
    def metrics(self) -> dict[str, EpisodeFigures]:
        """Rule -> its sums."""
        weights = bootstrap_weights([episode.split for episode in self.episodes], self.draws, self.seed)
        due = [episode.due for episode in self.episodes]
        columns = (*self.columns, *(f"{part}:{column}" for part in self.part_names() for column in self.columns))
        return {name: EpisodeFigures(due, columns, self.figures(name), weights) for name in self.rules}

    def batches(self, size: int = 64) -> Iterator[list[Step]]:
        """All steps in order, `size` at a time; only these are held in memory."""
        batch: list[Step] = []
        for url in self._urls:
            for steps in read_trajectories(url, history=self.history, horizon=self.horizon):
                batch += steps
                while len(batch) >= size:
                    yield batch[:size]
                    batch = batch[size:]
        if batch:
            yield batch

    def add(self, steps: Sequence[Step], rollouts: Sequence[Rollout]) -> list[dict[str, Any]]:
        """Scores a batch.

        Args:
            steps: As `batches` gave them.
            rollouts: One for each step, but for those whose prompt is too long: they are wrong, not left out. Left out, and
                counted, are those that a fault of the executor's infrastructure kept from being judged.

        Returns:
            A plain row for each step, with what `tools/score_actions.py` reads of it.
        """
        by_key = {rollout.step.key: rollout for rollout in rollouts}
        return [self._add(step, by_key.get(step.key)) for step in steps]

    def _add(self, step: Step, rollout: Rollout | None) -> dict[str, Any]:
        if rollout is not None and rollout.masked:
            self.counts["infra_errors"] += 1
            return {
                "key": step.key,
                "trajectory": step.trajectory,
                "index": step.index,
                "problem": rollout.outcome.fault,
            }
        predicted, problem = self._predicted(rollout)
        self.counts["too_long" if rollout is None else "unreadable"] += predicted is None
        self.remark(step, predicted)
        verdicts, episode = {}, self.places[step.trajectory]
        for name, metric in self.metrics.items():
            verdict = self.judge(name, step, predicted)
            verdicts[f"{self.family}.{name}"] = _fields(verdict)
            columns = columns_of(verdict, self.kind(step))
            for part in ("", *(f"{part}:" for part in self.parts(step))):
                metric.update(episode, {f"{part}{column}": value for column, value in columns.items()})
        return {
            "key": step.key,
            "trajectory": step.trajectory,
            "index": step.index,
            "gold": gold_to_line(self.gold(step)),
            "predicted": action_to_line(predicted),
            "problem": problem,
            "rules": verdicts,
            "response": None if rollout is None else rollout.response.text,
        }

    def _predicted(self, rollout: Rollout | None) -> tuple[Action | None, str]:
        """The action that is scored, or None and why there is none."""
        if rollout is None:
            return None, "the prompt is too long"
        if self.point == "executor":
            assert rollout.outcome is not None  # the evaluator has seen to it
            return rollout.outcome.action, rollout.outcome.error
        if not rollout.plan.steps:
            return None, rollout.plan.error or "the plan has no steps"
        return rollout.plan.steps[0].action, rollout.plan.steps[0].error

    def result(self) -> BenchmarkResult:
        """The figures of all steps added so far, on all ranks."""
        figures = {
            f"val/{self.name}/{rule}.{figure}": estimate
            for rule, metric in self.metrics.items()
            for figure, estimate in metric.compute().items()
        }
        about = {
            "rules": {f"{self.family}.{name}": dict((self.settings or {}).get(name) or {}) for name in self.rules},
            "point": self.point,
            "history": self.history,
            "counts": self.counts,
            "bootstrap": {
                "method": "episodes drawn with replacement within each split, percentiles 2.5 and 97.5",
                "draws": self.draws,
                "seed": self.seed,
            },
        }
        key = f"val/{self.name}/{self.rule}.{self.headline_of(self.rule)}"
        return BenchmarkResult(self.name, key, figures, self.total, len(self.episodes), about, self.published)

    def headline_of(self, rule: str) -> str:
        """The metric that stands for a rule."""
        return self.headline


def _fields(verdict: Verdict) -> dict[str, Any]:
    return {name: value for name, value in asdict(verdict).items() if name != "score"}
