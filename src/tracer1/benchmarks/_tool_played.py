"""What GTA and GAIA have in common: they are played in the environment `tools`, and their rows hold the verdict. It knows no rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tracer1.benchmarks._played import PlayedBenchmark
from tracer1.environments._tools.task import ToolTask
from tracer1.environments.tools import Tools
from tracer1.interfaces import Environment
from tracer1.plan_act.episode import Result


@dataclass(kw_only=True)
class ToolBenchmark(PlayedBenchmark):
    """Played with tools that really run.

    Args:
        tools: What is offered: `t3` (the paper's), or names.
        sandbox, limits, backends, cache: Of the environment `tools`.
    """

    tools: str | Sequence[str] | None = "t3"
    sandbox: Any = "auto"
    limits: Mapping[str, Any] | None = None
    backends: Mapping[str, Any] | None = None
    cache: str | None = None

    averaged: ClassVar[str] = "answer_accuracy"

    def environment_of(self, tasks: Sequence[ToolTask], tools: str | Sequence[str] | None) -> Environment:
        """A toolbox with its own sandbox, for these tasks and with these tools."""
        return Tools(
            tasks, tools=tools, sandbox=self.sandbox, limits=self.limits, backends=self.backends, cache=self.cache
        )

    def about(self, environment: Environment) -> Mapping[str, Any]:
        """Which tools there were."""
        return {
            "tools": self.tools if isinstance(self.tools, str) else list(self.tools),
            "backends": sorted(self.backends or ()),
        }

    def success(self, result: Result) -> bool:
        """What the environment says; a row then has the verdict of the benchmark's rule."""
        return result.score == 1
