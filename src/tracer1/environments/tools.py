"""Tasks that are solved by calling tools, as an environment: the agent's calls really run, in a folder of its own. It knows no agent.

`step` makes the call, so the executor is `direct`: there is nothing to be grounded. What a tool said, an error included, is the next
observation; `final_answer` ends the episode. Tools that need a model or the network have backends, or answer that they are unavailable.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._tools.offers import chosen, offer
from tracer1.environments._tools.sources import read_tasks
from tracer1.environments._tools.table import Table
from tracer1.environments._tools.task import ToolTask
from tracer1.errors import ConfigError
from tracer1.interfaces import Observation
from tracer1.registry import nearest
from tracer1.sandbox import Sandbox, checked_limits, open_sandbox
from tracer1.schema import Action
from tracer1.toolbox.backends import Backends, make_backends
from tracer1.toolbox.cache import Cache
from tracer1.toolbox.toolbox import Toolbox

log = logging.getLogger(__name__)


@ENVIRONMENTS.register("tools")
class Tools:
    """`reset`, `step` until it says the episode has ended, `score`; then the next `reset`. `close` at the end.

    Args:
        source: GTA's dataset.json or its folder, GAIA's folder, or shards of tool steps with their files; or the tasks themselves.
        split: Of GAIA (validation) or of shards (heldout); None is that one.
        tools: What the agent is offered: None, each task's own tools; `t3`; `gta`; or names.
        files: Folders that hold the files of shards' tasks, besides their own.
        sandbox: Where code runs: auto | bubblewrap | docker | http | unsafe, or `{"kind": ..., its settings}`.
        limits: Of one run of code, by the names of `sandbox.Limits`; what is not named has its default.
        backends: Models and networks by role, see `toolbox.backends.make_backends`; None is none of them.
        cache: A folder for results of tools; None keeps none.

    Raises:
        ConfigError: a setting that cannot work.
        DataError: tasks that are not of their owner's layout.
    """

    platform = "tool"

    def __init__(
        self,
        source: str | Sequence[ToolTask],
        *,
        split: str | None = None,
        tools: str | Sequence[str] | None = None,
        files: Sequence[str] = (),
        sandbox: str | Mapping[str, Any] | Sandbox = "auto",
        limits: Mapping[str, Any] | None = None,
        backends: Mapping[str, Any] | Backends | None = None,
        cache: str | None = None,
    ) -> None:
        if source is None:
            raise ConfigError(
                "environment.source is missing: name a folder of tasks, e.g. environment.source=demo/tool_tasks."
            )
        self._limits, self._sandbox = checked_limits(limits, "environment.limits"), sandbox
        self._opened: Sandbox | None = None if isinstance(sandbox, (str, Mapping)) else sandbox
        self._own = self._opened is None  # whether we close it
        self._backends = backends if isinstance(backends, Backends) else make_backends(backends)
        self._cache = None if cache is None else Cache(cache)
        self._chosen = chosen(tools)
        read = read_tasks(source, split, files) if isinstance(source, str) else source
        self._tasks = {task.name: task for task in read}
        self._stack, self._table = ExitStack(), None

    def tasks(self) -> Sequence[str]:
        """The names of the tasks, in their source's order."""
        return tuple(self._tasks)

    def refuses(self, task: str) -> str:
        """Why it cannot be played: a file or a tool that is not there."""
        return self._task(task).refusal

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        """Begins an episode: a new folder with the task's files, a new interpreter.

        Args:
            task: A name.
            seed: Changes nothing: a task is the same every time.

        Raises:
            ConfigError: no such task, or one that is refused.
            MissingDependency: there is no sandbox here.
            ExecutorError: there is no room for the files.
        """
        asked = self._task(task)
        if asked.refusal:
            raise ConfigError(f"Task {task!r} is refused, not scored 0: {asked.refusal}.")
        self._end()
        offered = offer(asked.tools) if self._chosen is None else offer(self._chosen)
        if self._chosen is None and asked.signatures:
            offered = offer(asked.tools, asked.signatures)
        if self._opened is None:
            kind = {"kind": self._sandbox} if isinstance(self._sandbox, str) else dict(self._sandbox)
            self._opened = open_sandbox(limits=self._limits, **kind)
        toolbox = Toolbox(offered.tools, sandbox=self._opened, backends=self._backends, cache=self._cache)
        self._table = Table(self._stack, asked, offered, toolbox, self._limits)
        return asked.instruction, self._table.look()

    def step(self, action: Action) -> tuple[Observation, bool]:
        """Makes the call. Raises ExecutorError where a server or the sandbox failed: nobody's mistake."""
        return self._begun().act(action)

    def score(self) -> float:
        """1 where the final answer is right under its owner's rule, 0 where it is wrong or missing; NaN where nobody knows."""
        table = self._begun()
        right = table.task.right(table.answer)
        return math.nan if right is None else right

    def close(self) -> None:
        """Ends all interpreters, and the sandbox that was opened here."""
        self._end()
        if self._own and self._opened is not None:
            self._opened.close()
            self._opened = None

    def _end(self) -> None:
        self._table = None
        self._stack.close()

    def _begun(self) -> Table:
        if self._table is None:
            raise ConfigError("No episode has begun: call reset first.")
        return self._table

    def _task(self, name: str) -> ToolTask:
        if name not in self._tasks:
            raise ConfigError(
                f"There is no task {name!r}.{nearest(str(name), list(self._tasks))} There are {len(self._tasks)}."
            )
        return self._tasks[name]
