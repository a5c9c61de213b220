"""A real desktop as an environment: OSWorld's own class on an X server of this machine. It knows no agent, and is not OSWorld.

The same class, task format, evaluators and PyAutoGUI lines as OSWorld's; its own tasks, a bare window manager, four applications, no
virtual machine. Its scores are therefore called desktop's and nothing else. Needs the extra `desktop`, OSWorld's package without what it
asks for, and system programs: all are looked for when the first episode begins.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._desktop.link import Link
from tracer1.environments._desktop.tasks import OURS, launched, need, one_of, read_tasks
from tracer1.environments._foreign import ImpossibleAction, refused
from tracer1.environments._osworld.command import to_command
from tracer1.errors import ConfigError, EnvironmentFault
from tracer1.interfaces import Observation
from tracer1.schema import Action

STARTED_S, RESET_S, STEP_S = 120.0, 240.0, 120.0  # far above what a loaded machine takes; then it hangs


@ENVIRONMENTS.register("desktop")
class Desktop:
    """`reset`, `step` until it says the episode has ended, `score`; then the next `reset`. `close` at the end.

    Every episode has a desktop of its own: X server and applications are started anew, HOME is empty. Where we are root, all of it runs
    as a numeric user without rights, another one for each desktop; else it runs as we do, and an agent could reach what we can.

    Args:
        tasks: A folder of task files in OSWorld's format; ours where it is not set.
        width: Of the screen, in pixels.
        height: Likewise.
        pause_s: Seconds between an action and the screenshot (OSWorld's own is 2).
        evaluate_s: Seconds after which an evaluator counts as hanging: a fault, no score.
    """

    platform = "desktop"

    def __init__(
        self, *, tasks: str = "", width: int = 1280, height: int = 720, pause_s: float = 0.5, evaluate_s: float = 60.0
    ) -> None:
        if min(width, height) < 200 or pause_s < 0 or evaluate_s <= 0:
            raise ConfigError("environment: width and height are at least 200 pixels, pause_s >= 0, evaluate_s > 0.")
        self._tasks = read_tasks(Path(tasks).expanduser() if tasks else OURS)
        self._size, self.pause_s, self._evaluate_s = (width, height), pause_s, evaluate_s
        self._link: Link | None = None
        self._screenshot: bytes | None = None  # the last one; None where no episode has begun

    def tasks(self) -> Sequence[str]:
        """The ids of the tasks, sorted."""
        return tuple(self._tasks)

    def refuses(self, task: str) -> str:
        """Why a task cannot be played or scored here: an application or a library is absent; "" where it can. No desktop is started.

        Raises:
            ConfigError: no such task.
            MissingDependency: a program or package is absent that every task needs.
            EnvironmentFault: OSWorld's class could not be loaded.
        """
        chosen = one_of(self._tasks, task)
        need()
        if absent := [name for name in launched(chosen) if not shutil.which(name)]:
            return f"it starts {', '.join(absent)}, which is not installed (docs/desktop.md)"
        if self._link is None or not self._link.alive:
            self.close()
            self._link = Link(self._size)
        return self._link.ask(STARTED_S, "refusal", chosen)

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        """Begins an episode on a desktop of its own.

        Args:
            task: An id.
            seed: Changes nothing: these tasks are as fixed as OSWorld's.

        Raises:
            ConfigError: no such task, or one that is refused.
            MissingDependency: a program or package is absent that every task needs.
            EnvironmentFault: the desktop, an application or its window did not come.
        """
        self._screenshot = None
        if reason := self.refuses(task):
            raise refused(task, reason)
        self._screenshot = self._link.ask(RESET_S, "reset", self._tasks[task])
        return self._tasks[task]["instruction"], Observation(self._screenshot)

    def step(self, action: Action) -> tuple[Observation, bool]:
        """Acts, waits, looks. `finished` and `call_user` (OSWorld's FAIL) end the episode; what a desktop cannot do does nothing."""
        link = self._begun()
        try:
            command = to_command(action, self._size)
        except ImpossibleAction:
            return Observation(self._screenshot), False
        self._screenshot, ended = link.ask(STEP_S + self.pause_s, "step", command, self.pause_s)
        return Observation(self._screenshot), ended

    def score(self) -> float:
        """What OSWorld's evaluator says of the desktop as it is now, 0 to 1. Of an infeasible task: 1 after `call_user`, else 0."""
        return self._begun().ask(self._evaluate_s, "evaluate")

    def close(self) -> None:
        """Ends the desktop with all its processes and files."""
        if self._link is not None:
            self._link.close()
        self._link, self._screenshot = None, None

    def _begun(self) -> Link:
        if self._link is None or self._screenshot is None:
            raise ConfigError("No episode has begun: call reset first.")
        if not self._link.alive:
            raise EnvironmentFault("The desktop is gone; the next reset starts another.")
        return self._link
