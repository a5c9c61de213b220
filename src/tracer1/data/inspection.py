"""Checks a folder of shards from end to end and counts what is in it. It knows nothing about training or shuffling."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracer1.actions import PLACE_TYPES
from tracer1.data.records import Stored, key_stem, to_steps
from tracer1.data.shard_writer import read_manifest
from tracer1.data.shards import read_stored
from tracer1.errors import DataError
from tracer1.needs import lacking

SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(slots=True)
class SetCount:
    """What one data set's split holds."""

    trajectories: int = 0
    steps: int = 0
    without_screenshot: int = 0
    at_a_place: int = 0  # steps whose action happens at a place: click, drag ... (`actions.PLACE_TYPES`)
    without_box: int = 0  # of these
    without_place: int = 0  # of these: no box, no point, or no end of a drag
    megabytes: float = 0.0  # 10^6 bytes of screenshots
    action_types: Counter[str] = field(default_factory=Counter)
    plan_lengths: Counter[int] = field(default_factory=Counter)  # expert steps from each step on, itself included
    image_sizes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)  # of each trajectory's last step
    abstraction_sources: Counter[str] = field(default_factory=Counter)  # where `screenshot_abstraction` was taken from

    def add(self, trajectory: list[Stored]) -> None:
        """Counts one trajectory."""
        self.trajectories += 1
        for step in to_steps(trajectory, history=0, horizon=1):
            self.at_a_place += step.platform != "tool" and step.future[0].action.action_type in PLACE_TYPES
            self.without_box += lacking(step, ("box",)) is not None
            self.without_place += lacking(step, ("place",)) is not None
        self.statuses[trajectory[-1].record["status"]] += 1
        for place, stored in enumerate(trajectory):
            record, size = stored.record, stored.record["image_size"]
            self.steps += 1
            self.without_screenshot += stored.screenshot is None
            self.megabytes += len(stored.screenshot or b"") / 1e6
            self.action_types[record["action"]["action_type"]] += 1
            self.plan_lengths[len(trajectory) - place] += 1
            self.image_sizes["unknown" if size is None else f"{size[0]}x{size[1]}"] += 1
            self.abstraction_sources[str(record["meta"].get("abstraction_source", "unknown"))] += 1

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, the most frequent first."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {n: dict(v.most_common()) if isinstance(v, Counter) else v for n, v in plain.items()}


@dataclass(slots=True)
class Inspection:
    """What was found in a folder."""

    folder: Path
    shards: int = 0
    file_megabytes: float = 0.0  # 10^6 bytes on disk
    sets: dict[tuple[str, str], SetCount] = field(default_factory=dict)  # by (data set, split)
    problems: list[str] = field(default_factory=list)  # one line each

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        sets = [{"dataset": d, "split": s, **count.as_dict()} for (d, s), count in sorted(self.sets.items())]
        totals = {"shards": self.shards, "file_megabytes": self.file_megabytes}
        return {"folder": str(self.folder), **totals, "sets": sets, "problems": self.problems}


def find_shards(folder: Path) -> list[Path]:
    """All shards in a folder and below it, sorted. Raises DataError when there is no folder or no shard in it."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Make shards with tools/make_shards.py, or correct the path.")
    shards = sorted(path for path in folder.rglob("*") if path.name.endswith(SUFFIXES))
    if not shards:
        raise DataError(f"No shard (*.tar, *.tar.gz) in {folder}. Make shards with tools/make_shards.py.")
    return shards


def inspect(
    shards: list[Path],
    folder: Path,
    *,
    images: bool = False,
    keep_going: bool = False,
    done: Callable[[int], object] = abs,
) -> Inspection:
    """Reads every step of the shards and checks it against the schema.

    Args:
        shards: What `find_shards` gave.
        folder: Where they are.
        images: Decode every screenshot, and compare the shards with the checksums in `manifest.json`.
        keep_going: Collect all problems instead of raising at the first.
        done: Told the bytes of each shard once it has been read, for a progress bar.

    Raises:
        DataError: The first problem, unless `keep_going`.
    """
    found, stems = Inspection(folder), set()
    for path in shards:
        try:
            tell = found.problems.append if keep_going else "error"
            for trajectory in read_stored(str(path), on_bad_step=tell, verify_images=images):
                first = trajectory[0].record
                if key_stem(first["key"]) in stems:
                    _note(found, f"{path}: the trajectory of {first['key']!r} is also in another shard.", keep_going)
                stems.add(key_stem(first["key"]))
                found.sets.setdefault((first["dataset"], first["split"]), SetCount()).add(trajectory)
            for line in _against_manifest(path, images):  # last: what the reader says of a cut shard helps more
                _note(found, line, keep_going)
        except DataError as error:
            if not keep_going:
                raise
            found.problems.append(str(error))
        found.shards += 1
        found.file_megabytes += path.stat().st_size / 1e6
        done(path.stat().st_size)
    return found


def _note(found: Inspection, line: str, keep_going: bool) -> None:
    if not keep_going:
        raise DataError(line)
    found.problems.append(line)


def _against_manifest(path: Path, checksum: bool) -> Iterator[str]:
    """One line if a shard is not what the manifest beside it says."""
    entry = read_manifest(path.parent).get(path.name)
    if entry is None:
        return
    with open(path, "rb") as stream:
        same = path.stat().st_size == entry["bytes"] and (
            not checksum or hashlib.file_digest(stream, "sha256").hexdigest() == entry["sha256"]
        )
    if not same:
        yield f"{path}: the shard is not the one in manifest.json. Fetch it again, or write it again with tools/make_shards.py."


def tables(found: Inspection) -> list[Any]:
    """The counts, for rich to print: a line and three tables."""
    from rich.table import Table

    head = ("data set", "split", "trajectories", "steps", "MB", "plan length", "image sizes")
    counts = Table(*head)
    missing = Table("data set", "split", "no screenshot", "at a place", "no box", "no place", title="What steps lack")
    types = Table("data set", "split", "action types", title="Actions")
    for (dataset, split), count in sorted(found.sets.items()):
        counts.add_row(
            dataset,
            split,
            f"{count.trajectories:,}",
            f"{count.steps:,}",
            f"{count.megabytes:,.1f}",
            f"1 to {max(count.plan_lengths)}, median {_median(count.plan_lengths)}",
            _frequent(count.image_sizes, 3),
        )
        lacks = (count.without_screenshot, count.at_a_place, count.without_box, count.without_place)
        missing.add_row(dataset, split, *(f"{number:,}" for number in lacks))
        types.add_row(dataset, split, _frequent(count.action_types, 30))
    return [f"{found.folder}: {found.shards} shards, {found.file_megabytes:,.1f} MB", counts, missing, types]


def _median(counter: Counter[int]) -> int:
    """The lower median."""
    left = (counter.total() + 1) // 2
    for value in sorted(counter):
        left -= counter[value]
        if left <= 0:
            return value
    raise AssertionError("a data set has steps")


def _frequent(counter: Counter[str], most: int) -> str:
    shown = [f"{name} {count:,}" for name, count in counter.most_common(most)]
    return ", ".join(shown) + (f", {len(counter) - most} more" if len(counter) > most else "")
