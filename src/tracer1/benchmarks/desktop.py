"""The desktop of this machine: OSWorld's class and evaluators on tasks of ours. Its scores are desktop's, never OSWorld's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._played import PlayedBenchmark
from tracer1.environments._foreign import revision
from tracer1.environments.desktop import Desktop
from tracer1.interfaces import Environment
from tracer1.plan_act.episode import Result
from tracer1.registry import bound


@BENCHMARKS.register("desktop")
@dataclass(kw_only=True)
class DesktopBenchmark(PlayedBenchmark):
    """The mean of the evaluators' scores.

    Args:
        environment: Settings of the environment: tasks (a folder of task files), width, height, pause_s, evaluate_s.
    """

    parallel: int = 2
    environment: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "desktop"
    rule: ClassVar[str] = "evaluate"
    rule_says: ClassVar[str] = (
        "what the task's evaluator says at the end, 0 to 1; an infeasible task: 1 where call_user is the last action; averaged"
    )
    averaged: ClassVar[str] = "score"

    def make_environment(self) -> Environment:
        """A desktop of its own."""
        return bound("benchmark.environment", Desktop, self.environment)()

    def success(self, result: Result) -> bool:
        """Full marks."""
        return result.score >= 1

    def about(self, environment: Environment) -> Mapping[str, Any]:
        """Whose class it is, and how many tasks there are."""
        return {"desktop_env": revision(None, "desktop-env"), "tasks": len(environment.tasks())}
