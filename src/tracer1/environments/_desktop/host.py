"""OSWorld's `DesktopEnv` in a process of its own, on a local machine. It knows no agent and nothing of who asks.

A process of its own, because the hollow modules, what the evaluators print and the `.env` file that OSWorld's class reads must not
reach a training, and because an evaluator that hangs can only be killed. `link.py` is the other end. Only the function that makes
OSWorld's machines is replaced, and one waiting time: its client would wait 15 s for every file that is not there.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tracer1.environments._desktop.absent import HollowFinder
from tracer1.environments._desktop.machine import Machine, Manager
from tracer1.environments._desktop.processes import adopt_orphans, busy, end_all, reap_orphans
from tracer1.environments._osworld.metrics import unscorable
from tracer1.errors import EnvironmentFault, Tracer1Error

RETRY_S = 0.2
QUIET_S, QUIET_AT_MOST_S = 0.2, 15.0  # a fresh desktop is looked at once nothing has moved for so long
# What the local machine can do; a task that asks for more is refused
SETUPS = frozenset(
    ("download", "upload_file", "launch", "execute", "command", "sleep", "activate_window", "close_window")
)
GETTERS = frozenset(
    (
        "rule",
        "vm_file",
        "cache_file",
        "cloud_file",
        "content_from_vm_file",
        "vm_command_line",
        "vm_command_error",
        "vm_screen_size",
    )
)


class Complaints(logging.Handler):
    """The errors that OSWorld's classes log and then pass over: an application that does not start, a window that never comes."""

    def __init__(self, *names: str) -> None:
        super().__init__(logging.ERROR)
        self.loggers = [logging.getLogger(name) for name in names]
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> "Complaints":
        for logger in self.loggers:
            logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for logger in self.loggers:
            logger.removeHandler(self)


class Host:
    """One desktop and OSWorld's class on it.

    Args:
        folder: For all files; removed at the end.
        token: Marks the desktop's processes.
        size: Of the screen in pixels.
    """

    def __init__(self, folder: Path, token: str, size: tuple[int, int]) -> None:
        with HollowFinder():
            from desktop_env import desktop_env
            from desktop_env.evaluators import getters, metrics
        self._module, self._getters, self._metrics = desktop_env, getters, metrics
        self._folder, self._token, self._size = folder, token, size
        self._machine = Machine(folder, token, size)
        self._env: Any = None

    def refusal(self, task: Mapping[str, Any]) -> str:
        """Why a task cannot be done or scored here; "" where it can."""
        evaluator = task["evaluator"]
        asked = [*task.get("config", []), *evaluator.get("postconfig", [])]
        for step in asked:
            if step["type"] not in SETUPS:
                return f"its preparation {step['type']!r} needs more than this desktop has; it has {', '.join(sorted(SETUPS))}"
        for side in ("result", "expected"):
            listed = evaluator.get(side) or []
            for one in listed if isinstance(listed, list) else [listed]:
                if one and one["type"] not in GETTERS:
                    return f"its state {one['type']!r} cannot be read here; these can: {', '.join(sorted(GETTERS))}"
        return unscorable(evaluator, self._metrics, self._getters)

    def reset(self, task: Mapping[str, Any]) -> bytes:
        """Begins a task on a fresh desktop; returns the first screenshot. Raises EnvironmentFault unless all is as the task wants it."""
        shutil.rmtree(self._folder / "cache", ignore_errors=True)
        with Complaints("desktopenv.setup", "desktopenv.pycontroller") as complaints:
            try:
                self._begin(task)
            except EnvironmentFault:
                raise
            except Exception as error:  # whatever OSWorld's class raises: there is no episode
                raise EnvironmentFault(f"task {task['id']}: the preparation failed: {error}") from error
        if complaints.lines:
            raise EnvironmentFault(f"task {task['id']}: the preparation failed: {' | '.join(complaints.lines)}")
        return self._quiet()

    def step(self, command: str, pause: float) -> tuple[bytes, bool]:
        """Acts; returns the next screenshot and whether the episode has ended."""
        with Complaints("desktopenv.pycontroller") as complaints:
            observation, _, done, _ = self._env.step(command, pause=pause)
        if complaints.lines or observation["screenshot"] is None:
            raise EnvironmentFault(f"the desktop does not answer: {' | '.join(complaints.lines)}")
        return observation["screenshot"], done

    def evaluate(self) -> float:
        """The score of OSWorld's evaluator. A missing file is the agent's doing; a dead machine or a broken evaluator is not."""
        try:
            score = float(self._env.evaluate())
        except Exception as error:
            raise EnvironmentFault(f"the evaluator failed: {type(error).__name__}: {error}") from error
        if not self._machine.alive() or self._env.controller.get_screenshot() is None:
            raise EnvironmentFault("the desktop died before it was evaluated")
        return score

    def close(self) -> None:
        self._machine.stop_emulator("local")

    def _begin(self, task: Mapping[str, Any]) -> None:
        if self._env is None:
            self._env = self._make()
        else:
            self._env.is_environment_used = (
                True  # also where the last task has left it alone: every episode has its own desktop
            )
        self._env.reset(task_config=dict(task))

    def _make(self) -> Any:
        class LocalEnv(self._module.DesktopEnv):
            def _start_emulator(self) -> None:
                super()._start_emulator()
                self.controller.retry_interval = RETRY_S

        self._module.create_vm_manager_and_provider = lambda *args, **kwargs: (Manager(), self._machine)
        return LocalEnv(
            provider_name="docker",  # one of its known names; a machine that is clean when it has started
            action_space="pyautogui", cache_dir=str(self._folder / "cache"), screen_size=self._size, headless=True,
            require_a11y_tree=False, require_terminal=False, os_type="Ubuntu",
        )  # fmt: skip

    def _quiet(self) -> bytes:
        """The screen once it stands still and no application computes: windows are there before they are drawn."""
        deadline = time.monotonic() + QUIET_AT_MOST_S
        before = None
        while True:
            resting = not busy(self._token, QUIET_S)
            now = self._env.controller.get_screenshot()
            if now is None:
                raise EnvironmentFault("the desktop gave no first screenshot")
            if (resting and now == before) or time.monotonic() > deadline:
                return now
            before = now


def serve(host: Host, line: Connection) -> None:
    """Answers (method, arguments) with ("ok", result) or (name of an error of ours, its text), until the other side is gone."""
    while True:
        try:
            method, arguments = line.recv()
        except EOFError:
            return
        try:
            answer = ("ok", getattr(host, method)(*arguments))
        except Tracer1Error as error:
            answer = (type(error).__name__, str(error))
        except Exception as error:
            logging.exception("%s", method)
            answer = ("EnvironmentFault", f"{method}: {type(error).__name__}: {error}")
        try:
            line.send(answer)
        except OSError:
            return


def main() -> None:
    """Arguments: the number of the connection's descriptor, folder, token, width, height."""
    adopt_orphans()
    os.umask(0o077)  # what is expected, and what evaluators print of it, is not for the desktop's user
    line = Connection(int(sys.argv[1]))
    folder, token = Path(sys.argv[2]), sys.argv[3]
    try:
        serve(Host(folder, token, (int(sys.argv[4]), int(sys.argv[5]))), line)
    finally:
        end_all(token)
        reap_orphans()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
