"""OSWorld as an environment of ours: its own `DesktopEnv` on the user's virtual machine. It knows no planner and no success rule.

The code and the tasks are the user's own clone of xlang-ai/OSWorld or a fork of it, imported when the first task is asked for.
docs/online_benchmarks.md says how a machine is set up and how a score is reported.
"""

import inspect
import itertools
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from threading import Thread
from typing import Any

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._foreign import ImpossibleAction, folder, foreign, picture_size, refused, revision
from tracer1.environments._osworld.command import DONE, FAIL, WAIT, to_command
from tracer1.environments._osworld.metrics import unscorable
from tracer1.environments._osworld.tasks import Tasks, read_tasks
from tracer1.errors import ConfigError, EnvironmentFault
from tracer1.interfaces import Observation
from tracer1.registry import nearest
from tracer1.schema import Action

log = logging.getLogger(__name__)
HOW = (
    "Install OSWorld in the environment that runs this: git clone https://github.com/xlang-ai/OSWorld, pip install -r "
    "OSWorld/requirements.txt, and set `checkout` to the clone (docs/online_benchmarks.md)."
)
OURS = {"action_space": "pyautogui"}  # of the arguments of DesktopEnv: what the commands are written in
DEFAULTS = {"provider_name": "docker", "headless": True, "require_a11y_tree": False, "cache_dir": "cache"}
_NUMBERS = itertools.count()  # of the environments of this process


@dataclass(frozen=True)
class Waits:
    """How long is waited, in seconds; the runner of OSWorld has the same first two."""

    settle_s: float = 60.0  # after a reset, for the applications that it starts
    pause_s: float = 2.0  # after an action
    evaluate_s: float = 900.0  # for a verdict; some metrics never return


@ENVIRONMENTS.register("osworld")
class OSWorld:
    """`reset`, `step` until it says the episode has ended, `score`; then the next `reset`. `close` at the end.

    Args:
        checkout: A clone of OSWorld; None: `desktop_env` as it is installed.
        examples: Its folder evaluation_examples; None: the checkout's.
        task_list: A file in there: `test_all.json` (369 tasks), `test_nogdrive.json` (361), or a path.
        vm: Arguments of `DesktopEnv`, by their names: provider_name, path_to_vm, region, screen_size, client_password ...
        waits: Some of `Waits`.

    Raises:
        ConfigError: a setting that does not exist, or a folder that is none.
    """

    platform = "desktop"

    def __init__(
        self,
        *,
        checkout: str | None = None,
        examples: str | None = None,
        task_list: str = "test_all.json",
        vm: Mapping[str, Any] | None = None,
        waits: Mapping[str, float] | None = None,
    ) -> None:
        self._checkout = folder("checkout", checkout)
        self._examples, self._task_list = examples, task_list
        self._vm = {**DEFAULTS, **(vm or {})}
        if number := next(
            _NUMBERS
        ):  # what one task's evaluation fetches lies in a folder of the task's name: one for each of us
            self._vm["cache_dir"] = f"{self._vm['cache_dir']}-{number}"
        self._waits = _waits(waits or {})
        self._tasks: Tasks | None = None
        self._machine: Any = None  # their DesktopEnv
        self._episode: _Episode | None = None

    def tasks(self) -> list[str]:
        """`<domain>/<id>`, in the order of the list."""
        return list(self._list().names)

    def refuses(self, task: str) -> str:
        """Why a task cannot be scored here, e.g. for want of a library; "" where it can. No machine is started."""
        evaluators = self._import("desktop_env.evaluators")
        metrics, getters = (self._import(f"{evaluators.__name__}.{name}") for name in ("metrics", "getters"))
        return unscorable(self._list().load(task)["evaluator"], metrics, getters)

    def about(self) -> dict[str, Any]:
        """What belongs to every score: the revision and the number of tasks, by domain."""
        tasks = self._list()
        return {
            "osworld": revision(self._checkout, "desktop-env"),
            "task_list": self._task_list,
            "tasks": len(tasks.names),
            "by_domain": tasks.by_domain(),
            "provider": self._vm["provider_name"],
        }

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        """Begins an episode on a machine in its first state.

        Args:
            task: `<domain>/<id>`.
            seed: Of no effect: OSWorld's tasks have none.

        Raises:
            ConfigError: no such task, one that cannot be scored here, or a setting that DesktopEnv refuses.
            DataError: the task's file is damaged.
            MissingDependency: no OSWorld.
            EnvironmentFault: the machine did not start, or the task could not be set up on it.
        """
        self._episode = None
        config = self._list().load(task)
        if reason := self.refuses(task):
            raise refused(task, reason)
        machine = self._started()
        try:
            machine.reset(task_config=config)
        except Exception as error:
            raise self._lost(f"{task} could not be set up", error) from error
        # It gives up after five attempts without a word. Forks of 2024 lack the attribute.
        if config["config"] and not getattr(machine, "is_environment_used", True):
            raise self._lost(f"{task} could not be set up: the machine does not answer")
        time.sleep(self._waits.settle_s)
        self._episode = _Episode(task)
        return config["instruction"], self._look(machine._get_obs)

    def step(self, action: Action) -> tuple[Observation, bool]:
        """Acts and looks. What a desktop has no use for is logged and does nothing; its reward is not looked at, it is always 0.

        Raises:
            ConfigError: no episode is under way.
            EnvironmentFault: the machine is gone; `reset` starts a new one.
        """
        episode = self._current()
        if episode.ended or episode.score is not None:
            raise ConfigError(f"The episode of {episode.task} is over; begin another one with `reset`.")
        try:
            command = to_command(action, episode.size)
        except ImpossibleAction as error:
            log.info("Nothing was done: %s", error)
            command = WAIT  # a fresh look
        episode.ended = command in (DONE, FAIL)
        return self._look(lambda: self._machine.step(command, pause=self._waits.pause_s)[0]), episode.ended

    def score(self) -> float:
        """What `evaluate` says, 0..1; asked once, as it acts on the machine, and remembered.

        An infeasible task is solved by `call_user` as the last action; any other task by that action is not.

        Raises:
            ConfigError: no episode is under way.
            EnvironmentFault: no verdict: the evaluation failed, took too long, or the machine was gone.
        """
        episode = self._current()
        if episode.score is None:
            score = self._verdict(episode.task)
            # With a dead machine the getters find nothing, and the metrics call that a 0.
            self._look(lambda: {"screenshot": self._machine.render()})
            episode.score = score
        return episode.score

    def close(self) -> None:
        """Stops the machine. A later `reset` starts a new one."""
        machine, self._machine, self._episode = self._machine, None, None
        if machine is not None:
            machine.close()

    def _list(self) -> Tasks:
        if self._tasks is None:
            self._tasks = read_tasks(self._examples, self._checkout, self._task_list)
        return self._tasks

    def _import(self, module: str) -> Any:
        return foreign(module, self._checkout, HOW)

    def _started(self) -> Any:
        if self._machine is None:
            kind = self._import("desktop_env.desktop_env").DesktopEnv
            arguments = _arguments(kind, self._vm)
            try:
                self._machine = kind(**arguments)
            except (ValueError, NotImplementedError) as error:  # an unknown provider
                raise ConfigError(f"vm: DesktopEnv refuses {self._vm}: {error}") from error
            except Exception as error:
                raise self._lost("The virtual machine did not start", error) from error
        return self._machine

    def _look(self, look: Any) -> Observation:
        """What `look` returns is their observation. A machine without a screenshot is gone."""
        episode = self._current()
        try:
            seen = look()
            episode.size = picture_size(seen["screenshot"])
        except EnvironmentFault as fault:
            raise self._lost(str(fault)) from fault
        except Exception as error:
            raise self._lost(f"The machine failed in {episode.task}", error) from error
        return Observation(seen["screenshot"])

    def _verdict(self, task: str) -> float:
        """`evaluate` in a thread of its own, which is left behind where it does not return."""
        machine, verdict = self._machine, {}

        def work() -> None:
            try:
                verdict["score"] = float(machine.evaluate())
            except Exception as error:
                verdict["error"] = error

        thread = Thread(target=work, name=f"evaluate {task}", daemon=True)
        thread.start()
        thread.join(self._waits.evaluate_s)
        if thread.is_alive():
            raise self._lost(f"{task}: no verdict within {self._waits.evaluate_s:g} s")
        if "error" in verdict:
            raise self._lost(f"{task}: no verdict", verdict["error"]) from verdict["error"]
        return verdict["score"]

    def _lost(self, what: str, error: Exception | None = None) -> EnvironmentFault:
        """The fault to raise; the machine is given up."""
        try:
            self.close()
        except Exception as closing:
            log.warning("The machine could not be stopped either (%s); look for what it left running.", closing)
        reason = f" ({type(error).__name__}: {error})" if error is not None else ""
        return EnvironmentFault(f"{what}{reason}. The next `reset` starts a new machine.")

    def _current(self) -> "_Episode":
        if self._episode is None:
            raise ConfigError("No episode is under way: call `reset(task, seed)` first.")
        return self._episode


@dataclass
class _Episode:
    task: str
    size: tuple[int, int] = (0, 0)  # of the last screenshot, in pixels
    ended: bool = False
    score: float | None = None


def _waits(given: Mapping[str, float]) -> Waits:
    known = [field.name for field in fields(Waits)]
    for name, seconds in given.items():
        if name not in known:
            raise ConfigError(f"waits has no setting {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ConfigError(f"waits.{name} is {seconds!r}; it must be a number of seconds, 0 or more.")
    return Waits(**given)


def _arguments(kind: type, vm: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of this revision's DesktopEnv, by name; those that are None are left to it."""
    known = [name for name in inspect.signature(kind).parameters if name not in OURS]
    for name in vm:
        if name not in known:
            raise ConfigError(f"vm has no setting {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    given = {name: value for name, value in vm.items() if value is not None}
    if "screen_size" in given:
        given["screen_size"] = tuple(given["screen_size"])
    return given | OURS
