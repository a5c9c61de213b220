"""OSWorld on the user's virtual machine, by its own evaluators: the mean of their scores, as its `show_result.py` prints it.

It needs a clone and a machine: docs/online_benchmarks.md. What was published stands beside it, marked as such.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._played import PlayedBenchmark, Row
from tracer1.benchmarks._published import OSWORLD
from tracer1.environments.osworld import OSWorld
from tracer1.interfaces import Environment
from tracer1.metrics.episodes import Estimate
from tracer1.metrics.task_rates import TaskRates
from tracer1.plan_act.episode import Result
from tracer1.registry import bound


@BENCHMARKS.register("osworld")
@dataclass(kw_only=True)
class OSWorldBenchmark(PlayedBenchmark):
    """Over all tasks of the list, and by domain.

    Args:
        environment: Settings of the environment: checkout, examples, task_list, vm, waits.
    """

    max_steps: int = 50
    parallel: int = 1
    environment: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "osworld"
    rule: ClassVar[str] = "evaluate"
    rule_says: ClassVar[str] = (
        "what OSWorld's evaluate() says at the end, 0 to 1; an infeasible task: 1 where FAIL is the last action; averaged"
    )
    averaged: ClassVar[str] = "score"
    published = OSWORLD

    def make_environment(self) -> Environment:
        """A machine of its own."""
        return bound("benchmark.environment", OSWorld, self.environment)()

    def success(self, result: Result) -> bool:
        """Full marks."""
        return result.score >= 1

    def about(self, environment: Environment) -> Mapping[str, Any]:
        """The commit, the list with its number of tasks (369 or 361), the provider."""
        return environment.about()

    def figures(self, rows: Sequence[Row]) -> Mapping[str, Estimate]:
        """The domains beside the whole."""
        found = dict(super().figures(rows))
        domains = [row["task"].split("/")[0] for row in rows]
        for domain in dict.fromkeys(domains):
            own = [row for row, its in zip(rows, domains, strict=True) if its == domain]
            rates = TaskRates([row["task"] for row in own], self.draws, self.seed)
            found[f"{self.headline}.{domain}"] = rates.over_tasks([row["score"] for row in own])
        return found
