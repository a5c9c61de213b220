"""The tasks of `desktop`, in OSWorld's format: `{"id", "instruction", "config", "evaluator", ...}`, one JSON file each.

It reads them and says what they need to be installed; it runs none. Ours use `~` in paths, for every desktop has a HOME of its own.
"""

import importlib.util
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tracer1.errors import ConfigError, DataError, MissingDependency
from tracer1.registry import nearest

OURS = Path(__file__).with_name("tasks")
PROGRAMS = ("Xvfb", "openbox", "wmctrl", "xprop")
MODULES = (
    "desktop_env",
    "pyautogui",
    "Xlib",
    "mss",
    "requests_toolbelt",
    "cssselect",
    "rapidfuzz",
    "xmltodict",
    "pytz",
    "playwright",
)
DEBIAN = "apt-get install --no-install-recommends xvfb openbox wmctrl x11-utils xterm mousepad pcmanfm libreoffice-calc libreoffice-gtk3"
PYTHON = "pip install 'tracer1[desktop]' && pip install --no-deps desktop-env==1.0.2"


def read_tasks(folder: Path) -> dict[str, dict[str, Any]]:
    """All tasks of a folder and the folders in it: id -> task, sorted.

    Raises:
        ConfigError: no such folder, or no task in it.
        DataError: a file that is no task, or an id that two tasks have.
    """
    tasks: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*.json")):
        task = _read(path)
        if task["id"] in tasks:
            raise DataError(f"{path}: the id {task['id']!r} belongs to another task of {folder} already.")
        tasks[task["id"]] = task
    if not tasks:
        raise ConfigError(f"environment.tasks: no task file (*.json) in {folder}.")
    return dict(sorted(tasks.items()))


def _read(path: Path) -> dict[str, Any]:
    try:
        task = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a task: {error}") from error
    for key, kind in {"id": str, "instruction": str, "evaluator": dict}.items():
        if not isinstance(task, dict) or not isinstance(task.get(key), kind):
            raise DataError(f"{path}: no task of OSWorld's: {key!r} must be a {kind.__name__}.")
    if not task["evaluator"].get("func"):
        raise DataError(f"{path}: the evaluator names no `func`; nothing could score this task.")
    return task


def one_of(tasks: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The task of that id; raises ConfigError with the nearest one."""
    if name not in tasks:
        raise ConfigError(f"No desktop task {name!r}.{nearest(name, list(tasks))} Known: {', '.join(tasks)}.")
    return tasks[name]


def launched(task: Mapping[str, Any]) -> list[str]:
    """The programs that a task's preparation starts."""
    commands = [step["parameters"]["command"] for step in task.get("config", []) if step["type"] == "launch"]
    return [command.split()[0] if isinstance(command, str) else command[0] for command in commands]


def need(programs: Iterable[str] = PROGRAMS, modules: Iterable[str] = MODULES) -> None:
    """Raises MissingDependency, with the commands that install them, unless all are there."""
    absent = [name for name in programs if not shutil.which(name)]
    if absent:
        raise MissingDependency(f"The desktop needs {', '.join(absent)}. On Debian: {DEBIAN}")
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingDependency(f"The desktop needs the Python modules {', '.join(absent)}: {PYTHON}")
