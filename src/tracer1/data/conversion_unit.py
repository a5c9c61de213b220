"""Converts one unit of a raw data set into its own shards, one trajectory at a time; what one worker does.

A unit that was begun is read again from its start, without writing again what stands in finished shards: so its log is whole, and
the bytes are those of a run that nobody stopped. It knows nothing about other units, processes or the screen.
"""

import contextlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tracer1.data.conversion_state import Folder, UnitState
from tracer1.data.records import key_stem, make_key
from tracer1.data.shard_writer import ShardSeries, finished_file, pack_trajectory
from tracer1.data.splits import is_wanted, split_of
from tracer1.errors import DataError
from tracer1.interfaces import Converted, Converter, Note, Unit
from tracer1.schema import Step


@dataclass(frozen=True, slots=True)
class Job:
    """One unit, and how it is to be converted."""

    dataset: str  # the registered name; the shards' names begin with it
    unit: Unit
    index: int  # its place among the units
    out: Path
    splits: Sequence[str]  # of `splits.CHOICES`
    val_fraction: float
    max_shard_mb: float
    limit: int | None = None  # at most so many trajectories are written


class Names:
    """Gives trajectories ids of their own: the first keeps its id, the next ones get `-2`, `-3`, ... in the order of asking.

    Ids that differ only in what a key cannot hold count as the same.
    """

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.last: dict[str, int] = {}  # of ids that came more than once

    def give(self, dataset: str, trajectory: str) -> str:
        """The id that this trajectory is stored with."""
        stem = key_stem(make_key(dataset, trajectory, 0))
        name, number = trajectory, self.last.get(stem, 1)
        while (own := key_stem(make_key(dataset, name, 0))) in self.taken:
            number += 1
            name = f"{trajectory}-{number}"
        if number > 1:
            self.last[stem] = number
        self.taken.add(own)
        return name


def convert_unit(job: Job, converter: Converter, tick: Callable[[int, int], object]) -> UnitState:
    """Writes the shards `<dataset>-<split>-<unit>-<number>.tar` of a unit, and its log.

    Args:
        job: What to do.
        converter: Reads the unit.
        tick: Told the trajectories and steps so far, after each trajectory; may raise to stop here.

    Returns:
        The unit's state; where its source could not be read on, `damaged` says so, and what came before is kept.

    Raises:
        DiskFull: No space left.
    """
    folder = Folder(job.out)
    state = folder.read(job.index)
    if not folder.can_go_on(state):
        state = folder.restart(job.index, state)
    if state.finished:
        return state
    damaged = ""
    with finished_file(folder.log(job.index)) as log, _UnitWriter(job, folder, state, log) as writer:
        try:
            for converted in _reading(converter, job.unit):
                writer.take(converted)
                tick(writer.read, writer.steps)
                if writer.written == job.limit:
                    break
        except _Damaged as error:
            damaged = str(error)
        writer.check()
    state.finished, state.damaged, state.written = not damaged, damaged, writer.written
    folder.save(job.index, state)
    return state


class _Damaged(Exception):
    """The source cannot be read on."""


def _reading(converter: Converter, unit: Unit) -> Iterator[Converted]:
    """The unit's trajectories; what the converter says of a file that cannot be read becomes _Damaged."""
    reader, count = iter(converter.read(unit)), 0
    while True:
        try:
            converted = next(reader, None)
        except DataError as error:
            raise _Damaged(str(error)) from error
        except OSError as error:
            raise _Damaged(f"{error.filename or unit.path} cannot be read: {error.strerror or error}.") from error
        except Exception as error:  # a fault of the converter: whoever mends it wants to know where
            error.add_note(f"This happened in unit {unit.name} of {unit.path}, after {count} trajectories.")
            raise
        if converted is None:
            return
        count += 1
        yield converted


class _UnitWriter(contextlib.ExitStack):
    """Sorts a unit's trajectories into the shards of their splits and writes a line for each into the log."""

    def __init__(self, job: Job, folder: Folder, state: UnitState, log: BinaryIO) -> None:
        super().__init__()
        self.job, self.folder, self.state, self.log = job, folder, state, log
        self.names = Names()
        self.read = self.written = self.steps = 0
        self.series: dict[str, ShardSeries] = {}
        self.found: Counter[str] = Counter()  # trajectories met again that stand in finished shards
        self.kept: dict[str, list[tuple[int, str]]] = {}  # split -> where each finished shard ends, and its name
        for name, entry in state.shards.items():
            self.kept.setdefault(entry["split"], []).append((entry["read"], name))

    def take(self, converted: Converted) -> None:
        """Stores a trajectory, unless it was dropped, is not asked for, or stands in a finished shard."""
        task = converted.task
        split = split_of(task, self.job.val_fraction)
        if split is None:  # it might be of the benchmark's test split
            steps, notes = (
                (),
                (Note("dropped", task.trajectory, "owner's split unknown", "it may be a test trajectory"),),
            )
        elif is_wanted(split, self.job.splits):
            steps, notes = converted.steps, converted.notes
        else:
            self._say({"not_asked_for": split})
            return
        line: dict[str, Any] = {"dataset": task.dataset, "trajectory": task.trajectory, "split": split}
        if steps:
            name = self.names.give(task.dataset, task.trajectory)
            try:
                members = pack_trajectory(_named(steps, name), split)
            except DataError as error:
                notes = (*notes, Note("dropped", task.trajectory, "step breaks the schema", str(error)))
            else:
                line |= {"name": name, "shard": self._store(split, members), "steps": len(steps)}
                self.written += 1
                self.steps += len(steps)
        self._say(line | {"notes": [[note.kind, note.record, note.reason, note.detail] for note in notes]})

    def check(self) -> None:
        """Raises DataError where the source gave other trajectories than in the run that wrote the finished shards."""
        for kept in self.kept.values():
            for _, name in kept:
                count = self.state.shards[name]["trajectories"]
                if self.found[name] != count:
                    raise DataError(
                        f"{self.job.out / name} holds {count} trajectories, but this time {self.found[name]} were read for it from "
                        f"{self.job.unit.path}. Delete {self.job.out} and convert again."
                    )

    def _say(self, line: dict[str, Any]) -> None:
        self.log.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode(errors="backslashreplace"))
        self.read += 1

    def _store(self, split: str, members: list[tuple[str, bytes]]) -> str:
        """Adds members to the split's open shard, or finds the finished one that they stand in; gives its file name."""
        kept = self.kept.get(split, [])
        place = bisect_right(kept, self.read, key=lambda entry: entry[0])
        if place < len(kept):
            self.found[kept[place][1]] += 1
            return kept[place][1]
        if split not in self.series:
            stem = f"{self.job.dataset}-{split}-{self.job.index:05d}"
            self.series[split] = self.enter_context(
                ShardSeries(
                    lambda number: self.job.out / f"{stem}-{number:03d}.tar",
                    self.job.max_shard_mb,
                    lambda path, entry: self._closed(split, path, entry),
                    first=len(kept),
                )
            )
        return self.series[split].add(members)

    def _closed(self, split: str, path: Path, entry: dict[str, Any]) -> None:
        """Notes a finished shard: what it holds are trajectories before the `read`-th of the unit."""
        place = {"prefix": self.job.dataset, "split": split, "unit": self.job.unit.name, "read": self.read}
        self.state.shards[path.name] = place | entry
        self.folder.save(self.job.index, self.state)


def _named(steps: tuple[Step, ...], name: str) -> tuple[Step, ...]:
    """The steps with another trajectory id, if it is another."""
    if steps[0].trajectory == name:
        return steps
    return tuple(replace(step, trajectory=name, key=make_key(step.dataset, name, step.index)) for step in steps)
