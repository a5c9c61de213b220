"""OSWorld's task files: `evaluation_examples/examples/<domain>/<id>.json` and the lists of their ids. It runs no task."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer1.environments._foreign import folder
from tracer1.errors import ConfigError, DataError
from tracer1.registry import nearest

REQUIRED = {"id": str, "instruction": str, "config": list, "evaluator": dict}
NOT_IN_GOOGLE_DRIVE = 361  # test_nogdrive.json; all are 369


@dataclass(frozen=True)
class Tasks:
    """The tasks of one list.

    Args:
        root: `evaluation_examples`.
        names: `<domain>/<id>`, in the order of the list.
    """

    root: Path
    names: tuple[str, ...]

    def load(self, name: str) -> dict[str, Any]:
        """A task as its file has it, but that paths of settings files are absolute: the evaluator opens them from anywhere.

        Raises:
            ConfigError: no such task in the list.
            DataError: its file is absent or is no task.
        """
        if name not in self.names:
            raise ConfigError(f"No OSWorld task {name!r} in this list.{nearest(name, list(self.names))}")
        path = self.root / "examples" / f"{name}.json"
        task = _read(path)
        for key, kind in REQUIRED.items():
            if not isinstance(task.get(key), kind):
                raise DataError(f"{path}: no {key!r} that is a {kind.__name__}; this is no task file of OSWorld.")
        evaluator = task["evaluator"]
        if not evaluator.get("func"):
            raise DataError(f"{path}: the evaluator names no `func`; nothing could score this task.")
        return _absolute(task, self.root.parent)

    def by_domain(self) -> dict[str, int]:
        """How many tasks each domain has."""
        domains = [name.split("/")[0] for name in self.names]
        return {domain: domains.count(domain) for domain in dict.fromkeys(domains)}


def read_tasks(examples: str | None, checkout: Path | None, task_list: str) -> Tasks:
    """The tasks of a list.

    Args:
        examples: The folder `evaluation_examples`; None: the checkout's.
        checkout: The clone of OSWorld.
        task_list: A JSON file {domain: [ids]} in that folder, or a path.

    Raises:
        ConfigError: there is no such folder or list.
        DataError: the list cannot be read.
    """
    root = folder("examples", examples) or (checkout and folder("checkout", str(checkout / "evaluation_examples")))
    if root is None:
        raise ConfigError(
            "OSWorld's tasks are in its repository, not in the package on PyPI: set `checkout` to a clone of xlang-ai/OSWorld, "
            "or `examples` to its folder evaluation_examples."
        )
    path = root / task_list
    if not path.is_file():
        lists = sorted(file.name for file in root.glob("*.json"))
        raise ConfigError(f"task_list: no file {path}.{nearest(task_list, lists)} There: {', '.join(lists) or 'none'}.")
    domains = _read(path)
    if not all(isinstance(ids, list) and all(isinstance(one, str) for one in ids) for ids in domains.values()):
        raise DataError(f"{path}: not a list of tasks; it maps each domain to the ids of its tasks.")
    return Tasks(root, tuple(f"{domain}/{one}" for domain, ids in domains.items() for one in ids))


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; the checkout is not complete.") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a {type(value).__name__}, not an object.")
    return value


def _absolute(value: Any, root: Path) -> Any:
    """Every relative `settings_file` made absolute: their code opens it relative to the current folder."""
    if isinstance(value, list):
        return [_absolute(one, root) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: str(root / inner) if key == "settings_file" and isinstance(inner, str) else _absolute(inner, root)
        for key, inner in value.items()
    }
