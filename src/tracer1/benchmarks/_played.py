"""What the played benchmarks have in common: tasks and seeds become episodes, a named rule says what a success is, rates over tasks.

A benchmark adds where it is played and its rule. `_playing.py` plays it. It knows no model, no config and no file.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tracer1.benchmarks._result import BenchmarkResult, Published
from tracer1.errors import ConfigError
from tracer1.interfaces import Environment
from tracer1.metrics.episodes import Estimate
from tracer1.metrics.task_rates import TaskRates
from tracer1.plan_act.episode import Episode, Job, Result, Rules
from tracer1.plan_act.session import ALL, jobs_of

Row = Mapping[str, Any]  # what is kept of an episode: plain values
_LEAST = {"max_steps": 1, "max_lost": 1, "restarts": 0, "history": 0, "parallel": 1, "draws": 1, "seed": 0}


@dataclass(kw_only=True)
class PlayedBenchmark:
    """Plays tasks and says how many of them succeed.

    Args:
        tasks: One task, several, or `all`.
        seeds: How many episodes of each task, or which seeds.
        first_seed: Where counting begins.
        max_steps: Of an episode, lost ones included.
        max_lost: Steps in which no plan could be acted upon: so many end an episode.
        restarts: Times that an episode is begun again after a fault.
        history: Executed steps that a prompt shows (K).
        parallel: Environments side by side.
        max_faults: No figures where more than this share of the episodes met a fault, 0 to 1.
        draws: Bootstrap draws.
        seed: Of the bootstrap.

    Raises:
        ConfigError: a setting that cannot work.
    """

    tasks: str | Sequence[str] = ALL
    seeds: int | Sequence[int] = 1
    first_seed: int = 0
    max_steps: int = 15
    max_lost: int = 3
    restarts: int = 2
    history: int = 4
    parallel: int = 4
    max_faults: float = 0.2
    draws: int = 1000
    seed: int = 0

    name: ClassVar[str]
    rule: ClassVar[str]  # the success rule's name
    rule_says: ClassVar[str]  # what it is
    averaged: ClassVar[str] = "success"  # the key of a row whose mean is the headline: success, or the score itself
    published: ClassVar[Sequence[Published]] = ()

    def __post_init__(self) -> None:
        for setting, least in _LEAST.items():
            value = getattr(self, setting)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(
                    f"benchmark.{setting} is {value!r:.60}; it must be a whole number of at least {least}."
                )
        share = self.max_faults
        if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 <= share <= 1:
            raise ConfigError(f"benchmark.max_faults is {share!r:.60}; it must be a number from 0 to 1.")

    # --- what a benchmark says ---

    def make_environment(self) -> Environment:
        """A new place to play in; called once for each of those side by side."""
        raise NotImplementedError

    def excluded(self, environment: Environment) -> Mapping[str, str]:
        """Tasks of the environment that are never played, with the reason."""
        return {}

    def jobs(self, known: Sequence[str]) -> list[Job]:
        """The episodes to be played, task by task.

        Raises:
            ConfigError: no such task, or seeds that are none.
        """
        try:
            return jobs_of(self.tasks, self.seeds, self.first_seed, known)
        except ConfigError as error:
            said = str(error).replace("environment.task", "benchmark.tasks").replace("environment.", "benchmark.")
            raise ConfigError(said) from error

    def success(self, result: Result) -> bool:
        """Whether an episode with a verdict is a success, by the rule."""
        raise NotImplementedError

    def row(self, episode: Episode) -> dict[str, Any]:
        """What the file of episodes keeps of the attempt that counts. With a fault, `score` and `success` are None."""
        result = Result.of(episode)
        return {
            "task": result.job.task,
            "seed": result.job.seed,
            "sample": result.job.sample,
            "instruction": result.instruction,
            "end": result.end,
            "score": result.score,
            "success": None if result.score is None else self.success(result),
            "steps": result.steps,
            "lost": result.lost,
            "retried": result.retried,
            "fault": result.fault,
            "attempts": episode.attempt + 1,
            "seconds": round(result.seconds, 3),
        }

    def figures(self, rows: Sequence[Row]) -> Mapping[str, Estimate]:
        """Shares in 0..1 under `val/<name>/<rule>.<figure>`, of the rows with a verdict; the headline must be among them."""
        rates = TaskRates([row["task"] for row in rows], self.draws, self.seed)
        values = [float(row[self.averaged]) for row in rows]
        return {
            self.headline: rates.over_tasks(values),
            f"{self.headline}.these_tasks": rates.over_episodes(values),
        }

    @property
    def headline(self) -> str:
        """The key of the figure that stands for the benchmark."""
        return f"val/{self.name}/{self.rule}.{self.averaged}"

    def about(self, environment: Environment) -> Mapping[str, Any]:
        """What belongs to every score of this environment: a commit, a number of tasks."""
        return {}

    # --- what a run does ---

    @property
    def rules(self) -> Rules:
        """The limits of an episode."""
        return Rules(max_steps=self.max_steps, max_lost=self.max_lost, restarts=self.restarts, history=self.history)

    def result(self, rows: Sequence[Row], beside: Mapping[str, Any]) -> BenchmarkResult:
        """The figures of all rows.

        Args:
            rows: Of all jobs, in order.
            beside: Goes into the result: what was refused, what the environment says of itself.
        """
        judged = [row for row in rows if row["score"] is not None]
        about = {
            "rules": {self.rule: self.rule_says},
            "tasks": len({row["task"] for row in rows}),
            "seeds": self.seeds if isinstance(self.seeds, int) else list(self.seeds),
            "first_seed": self.first_seed,
            "max_steps": self.max_steps,
            "history": self.history,
            "counts": _counts(rows),
            "means": _means(judged),
            "faults_as_failures": self._lowest(rows),
            **beside,
            "faults": [{key: row[key] for key in ("task", "seed", "fault")} for row in rows if row["score"] is None],
            "bootstrap": {"method": TaskRates.METHOD, "draws": self.draws, "seed": self.seed},
        }
        steps = sum(row["steps"] for row in judged)
        return BenchmarkResult(
            self.name, self.headline, self.figures(judged), steps, len(judged), about, self.published,
            by_task=_by_task(rows, self.averaged), notes=tuple(_notes(rows, about)),
        )  # fmt: skip

    def _lowest(self, rows: Sequence[Row]) -> float | None:
        """What the headline would be if every fault were a failure: it can be no lower."""
        by_task: dict[str, list[float]] = {}
        for row in rows:
            judged = row["score"] is not None
            by_task.setdefault(row["task"], []).append(float(row[self.averaged] or 0.0) if judged else 0.0)
        return _mean([math.fsum(values) / len(values) for values in by_task.values()])


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    """Over all episodes; those with a fault have no verdict and are in no rate."""
    return {
        "episodes": len(rows),
        "faults": sum(row["score"] is None for row in rows),
        "begun_again": sum(row["attempts"] - 1 for row in rows),
        "lost": sum(row["lost"] for row in rows),
        "retried": sum(row["retried"] for row in rows),
        **{f"end_{end}": number for end, number in sorted(Counter(row["end"] for row in rows).items())},
    }


def _means(judged: Sequence[Row]) -> dict[str, float | None]:
    """Of one episode with a verdict; None where there is none."""
    names = ("steps", "lost", "score", "seconds")
    return {name: _mean([float(row[name]) for row in judged]) for name in names}


def _mean(values: Sequence[float]) -> float | None:
    return round(math.fsum(values) / len(values), 4) if values else None


def _by_task(rows: Sequence[Row], averaged: str) -> dict[str, dict[str, Any]]:
    """Task -> its rate, episodes with a verdict, faults, mean steps."""
    found: dict[str, dict[str, Any]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        judged = [row for row in own if row["score"] is not None]
        found[task] = {
            averaged: _mean([float(row[averaged]) for row in judged if row[averaged] is not None]),
            "episodes": len(judged),
            "faults": len(own) - len(judged),
            "steps": _mean([float(row["steps"]) for row in judged]),
        }
    return found


def _notes(rows: Sequence[Row], about: Mapping[str, Any]) -> list[str]:
    """The lines below the table."""
    counts, means = about["counts"], about["means"]
    rule, says = next(iter(about["rules"].items()))
    lines = [f"rule {rule}: {says}", f"intervals: {about['bootstrap']['method']}"]
    if means["steps"] is not None:
        lines.append(
            f"{means['steps']:.1f} steps an episode, {counts['lost']:,} steps lost, {counts['retried']:,} plans sampled again"
        )
    if counts["faults"]:
        example = next(row for row in rows if row["score"] is None)
        lines.append(
            f"{counts['faults']:,} of {counts['episodes']:,} episodes met a fault and are in no rate (with them as failures: "
            f"{100 * about['faults_as_failures']:.1f} %), e.g. {example['task']} seed {example['seed']}: {example['fault']}"
        )
    for what in ("excluded", "refused"):
        if about.get(what):
            lines.append(f"{what}, not scored: {', '.join(about[what])}")
    return lines
