"""AndroidWorld as an environment of ours: its own tasks on the user's emulator. It knows no planner and no success rule.

The code is the user's own clone of google-research/android_world, imported when the first task is asked for; or it runs in the
benchmark's container, behind its HTTP server. docs/online_benchmarks.md says how both are set up and how a score is reported.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

from tracer1.actions import ENDINGS
from tracer1.environments import ENVIRONMENTS
from tracer1.environments._android_world.here import Here
from tracer1.environments._android_world.served import Served
from tracer1.environments._foreign import ImpossibleAction, folder
from tracer1.errors import ConfigError, EnvironmentFault, MissingDependency
from tracer1.interfaces import Observation
from tracer1.registry import nearest
from tracer1.schema import Action

log = logging.getLogger(__name__)
FAMILIES = ("android_world", "android", "information_retrieval")  # its MiniWoB++ ends episodes by other rules

_DRIVEN: "WeakValueDictionary[str, AndroidWorld]" = WeakValueDictionary()  # by console port or server: who drives it


class Place(Protocol):
    """Where tasks run: in this process, or behind the container's server. Whatever it raises is a fault of the device."""

    def tasks(self) -> list[str]: ...

    def begin(self, task: str, seed: int) -> tuple[str, int]:
        """Sets a task up and goes to where it starts; returns its goal and its step budget."""

    def look(self) -> Observation: ...

    def act(self, action: Action) -> None:
        """Raises ImpossibleAction where a phone has no such action."""

    def score(self) -> float: ...

    def tear_down(self) -> None:
        """Ends the task that was begun, if any; whatever it raises, the task counts as ended."""

    def close(self) -> None:
        """Lets the device go; the next `begin` connects anew."""

    def about(self) -> dict[str, Any]: ...


@ENVIRONMENTS.register("android_world")
class AndroidWorld:
    """`reset`, `step` until it says the episode has ended, `score`; then the next `reset`. `close` at the end.

    An episode ends when the agent says so, or with the task's step budget: int(10 * complexity), 10 to 120.

    Args:
        checkout: A clone of AndroidWorld; None: as it is installed.
        family: android_world (116 tasks), or a part of it: android, information_retrieval.
        connection: Arguments of `env_launcher.load_and_setup_env`: console_port, grpc_port, adb_path, emulator_setup ...
        server: The container's server, e.g. http://localhost:5000; instead of checkout and connection.
        budget: Steps of an episode at the server, which does not tell a task's complexity.

    Raises:
        ConfigError: no such family, settings that exclude each other, a folder that is none, or a device that is driven already.
    """

    platform = "mobile"

    def __init__(
        self,
        *,
        checkout: str | None = None,
        family: str = "android_world",
        connection: Mapping[str, Any] | None = None,
        server: str | None = None,
        budget: int | None = None,
    ) -> None:
        if family not in FAMILIES:
            raise ConfigError(
                f"family: {family!r} is none of {', '.join(FAMILIES)}.{nearest(family, list(FAMILIES))} "
                "For MiniWoB++ there is environment=miniwob."
            )
        if server is None and budget is not None:
            raise ConfigError("budget: only with `server`; without it every task has its own, int(10 * complexity).")
        if server is not None and (checkout or connection):
            raise ConfigError("server: with it neither `checkout` nor `connection` is used; leave them out.")
        self._place: Place = (
            Here(folder("checkout", checkout), family, dict(connection or {}))
            if server is None
            else Served(server, family, budget)
        )
        self._episode: _Episode | None = None
        self._key = server or f"console port {(connection or {}).get('console_port') or 5554}"
        self._drive()

    @property
    def budget(self) -> int:
        """Steps of the episode under way."""
        return self._current().budget

    def tasks(self) -> list[str]:
        """The names that `reset` takes, sorted."""
        return sorted(self._place.tasks())

    def refuses(self, task: str) -> str:
        """Nothing: every task scores itself. An application that is not installed is a fault when the task is set up."""
        return ""

    def about(self) -> dict[str, Any]:
        """What belongs to every score: the revision, the family and the number of tasks."""
        return {**self._place.about(), "tasks": len(self.tasks())}

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        """Begins an episode; the last one's task is torn down first.

        Args:
            task: E.g. `ContactsAddContact`.
            seed: Of the task's parameters; 30 gives those of AndroidWorld's own `run.py`.

        Raises:
            ConfigError: no such task.
            MissingDependency: no AndroidWorld.
            EnvironmentFault: the device is gone, or the task could not be set up on it.
        """
        self._drive()
        self._end()
        if task not in (known := self.tasks()):
            raise ConfigError(f"No AndroidWorld task {task!r}.{nearest(task, known)}")
        goal, budget = self._on_device(f"{task} could not be set up", self._place.begin, task, seed)
        self._episode = _Episode(task, budget)
        return goal, self._on_device(f"The device failed in {task}", self._place.look)

    def step(self, action: Action) -> tuple[Observation, bool]:
        """Acts and looks. What a phone has no use for is logged, does nothing and costs a step.

        Raises:
            ConfigError: no episode is under way.
            EnvironmentFault: the device is gone; `reset` connects anew.
        """
        episode = self._current()
        if episode.done or episode.steps >= episode.budget or episode.score is not None:
            raise ConfigError(f"The episode of {episode.task} is over; begin another one with `reset`.")
        what = f"The device failed in {episode.task}"
        try:
            self._on_device(what, self._place.act, action)
        except ImpossibleAction as error:
            log.info("Nothing was done: %s", error)
        episode.steps += 1
        episode.done = action.action_type in ENDINGS
        return self._on_device(what, self._place.look), episode.done or episode.steps >= episode.budget

    def score(self) -> float:
        """What the task says, 0..1, where the agent has said that it is done; else 0, as in AndroidWorld's runner. Asked once.

        Raises:
            ConfigError: no episode is under way.
            EnvironmentFault: no verdict.
        """
        episode = self._current()
        if episode.score is None:
            what = f"{episode.task}: no verdict"
            episode.score = float(self._on_device(what, self._place.score)) if episode.done else 0.0
        return episode.score

    def close(self) -> None:
        """Tears the last task down and lets the device go. A later `reset` connects anew."""
        self._end()
        self._place.close()
        if _DRIVEN.get(self._key) is self:
            del _DRIVEN[self._key]

    def _drive(self) -> None:
        """One device shows one episode: nobody else of this process may act on it."""
        if _DRIVEN.setdefault(self._key, self) is not self:
            raise ConfigError(
                f"Another environment drives the device at {self._key}: agent.parallel=1, or a process for each emulator."
            )

    def _end(self) -> None:
        """Tears down. Where that fails the device is let go, so that the next episode does not begin on what is left."""
        self._episode = None
        try:
            self._place.tear_down()
        except Exception:
            log.warning("A task could not be torn down; the device is connected anew.", exc_info=True)
            self._place.close()

    def _on_device(self, what: str, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (ImpossibleAction, ConfigError, MissingDependency):
            raise
        except Exception as error:
            self._end()
            self._place.close()
            raise EnvironmentFault(
                f"{what} ({type(error).__name__}: {error}). The next `reset` connects to the device anew."
            ) from error

    def _current(self) -> "_Episode":
        if self._episode is None:
            raise ConfigError("No episode is under way: call `reset(task, seed)` first.")
        return self._episode


@dataclass
class _Episode:
    task: str
    budget: int  # steps
    steps: int = 0
    done: bool = False  # the agent has said so
    score: float | None = None
