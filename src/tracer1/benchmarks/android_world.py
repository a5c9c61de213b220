"""AndroidWorld on the user's emulator, by its own tasks' verdicts: their mean, as its `run.py` prints it.

It needs a clone and an emulator, or its container: docs/online_benchmarks.md. Their tally leaves out every episode that raised; here
those are named beside the rate, and the rate with them as failures is given, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._played import PlayedBenchmark
from tracer1.benchmarks._published import ANDROID_WORLD
from tracer1.environments.android_world import AndroidWorld
from tracer1.interfaces import Environment
from tracer1.plan_act.episode import Result
from tracer1.registry import bound


@BENCHMARKS.register("android_world")
@dataclass(kw_only=True)
class AndroidWorldBenchmark(PlayedBenchmark):
    """Over all tasks of a family.

    Args:
        first_seed: 30 is that of AndroidWorld's own `run.py`.
        max_steps: Of an episode; each task's own budget, up to 120, ends it earlier.
        environment: Settings of the environment: checkout, family, connection, server, budget.
    """

    first_seed: int = 30
    max_steps: int = 120
    parallel: int = 1
    environment: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "android_world"
    rule: ClassVar[str] = "is_successful"
    rule_says: ClassVar[str] = (
        "what the task's is_successful() says, 0 to 1, where the agent has said that it is done, else 0; averaged"
    )
    averaged: ClassVar[str] = "score"
    published = ANDROID_WORLD

    def make_environment(self) -> Environment:
        """The emulator's driver; there is one for each device."""
        return bound("benchmark.environment", AndroidWorld, self.environment)()

    def success(self, result: Result) -> bool:
        """What AndroidWorld prints as a success; a composite task may get a part of 1."""
        return result.score > 0.5

    def about(self, environment: Environment) -> Mapping[str, Any]:
        """The commit, the family, the number of tasks."""
        return environment.about()
