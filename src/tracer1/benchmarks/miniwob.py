"""MiniWoB++: success over its task types, on seeds that nothing was trained on. The pages and their rewards are its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._played import PlayedBenchmark
from tracer1.environments.miniwob import MiniWob
from tracer1.interfaces import Environment
from tracer1.plan_act.episode import Result

EXCLUDED = {  # of tasks=all; asked for by name they are played
    "chase-circle": "measures the pointer against a circle that moves for ten seconds of wall time",
    "hover-shape": "the page gives no reward and never ends",
    "moving-items": "counts clicks on moving things in ten seconds of wall time",
}


@BENCHMARKS.register("miniwob")
@dataclass(kw_only=True)
class MiniWobBenchmark(PlayedBenchmark):
    """An episode is a success where the page's raw reward is exactly 1; graded pages need full marks.

    Args:
        first_seed: The shipped planner was trained on seeds below 100,000.
    """

    first_seed: int = 100_000
    seeds: int | Sequence[int] = 3
    parallel: int = 8

    name: ClassVar[str] = "miniwob"
    rule: ClassVar[str] = "raw_reward_1"
    rule_says: ClassVar[str] = "the page's raw reward is exactly 1, without the discount for slowness"

    def make_environment(self) -> Environment:
        """A page of the process's browser."""
        return MiniWob()

    def excluded(self, environment: Environment) -> Mapping[str, str]:
        """What says more about the machine's speed than about a plan, or nothing."""
        return {task: why for task, why in EXCLUDED.items() if task in environment.tasks()}

    def success(self, result: Result) -> bool:
        """Nothing less than 1."""
        return result.score == 1

    def about(self, environment: Environment) -> Mapping[str, Any]:
        """Whose pages they are, and how many."""
        return {"miniwob": metadata.version("miniwob"), "task_types": len(environment.tasks())}
