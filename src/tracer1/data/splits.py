"""Which split a trajectory belongs to, and the guard that keeps the benchmarks' test trajectories out of training.

It knows nothing about files, shards or workers.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from tracer1.data.ordering import held_out
from tracer1.errors import DataError
from tracer1.interfaces import Task

CHOICES = ("train", "val", "test", "all")  # what can be asked for
BENCHMARKS = frozenset({"android_control", "gui_odyssey", "multimodal_mind2web"})  # scored on their owner's test split
_VAL = {"valid": "val", "validation": "val", "dev": "val"}


def is_test(split: str) -> bool:
    """Whether a split's name says that it is for testing: `test`, `test_task`, `random_test`, but not `contest`."""
    return "test" in re.split(r"[^a-z]+", split.lower())


def split_of(task: Task, val_fraction: float) -> str | None:
    """The split that a trajectory is stored with.

    The owner's where there is one (`validation` becomes `val`); else `val` or `train` by a hash of the trajectory's id, so that
    the steps of a trajectory, and trajectories of one id, are never torn apart.

    Args:
        task: Of the trajectory.
        val_fraction: Share that goes to `val` where the owner has no split, 0 to below 1.

    Returns:
        None where nobody can tell whether the trajectory belongs to a benchmark's test split.
    """
    if task.split:
        return _VAL.get(task.split.lower(), task.split)
    if task.dataset in BENCHMARKS:
        return None
    return "val" if held_out(task.dataset, task.trajectory, val_fraction) else "train"


def is_wanted(split: str, chosen: Collection[str]) -> bool:
    """Whether a split is among those asked for (`CHOICES`): all kinds of test count as `test`."""
    return "all" in chosen or ("test" if is_test(split) else split) in chosen


def refuse_test(record: Mapping[str, Any], url: str, name: str) -> None:
    """Raises DataError where a record that is about to be trained on belongs to a test split.

    Args:
        record: As it lies in a shard.
        url: The shard.
        name: The data set's name in `data.sets`.
    """
    if is_test(record["split"]):
        raise DataError(
            f"{url}: step {record['key']!r} is of the split {record['split']!r}: a test split is never trained on. Name only train "
            f"shards in data.sets.{name}.train, e.g. *-train-*.tar."
        )
