"""Looks through folders for what runs leave there. It knows what the files are called and how they begin, not what to make of them."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracer1.errors import DataError
from tracer1.plan_act.record import FILE as RECORD

METRICS = "metrics.jsonl"
SKIPPED = (
    "policy",
    "tables",
    "hydra",
    ".hydra",
    "mlartifacts",
    "mlruns",
    "node_modules",
)  # hold no results of their own
UNFINISHED = ".jsonl.part"  # of a benchmark: NAME.steps.jsonl.part, NAME.episodes.jsonl.part
MOST_BYTES = 20_000_000  # of a JSON file that is looked into
LOOKED_FOR = (
    f"{METRICS} (a training), {RECORD} (played episodes), a benchmark's NAME.json, or an evaluation's report "
    "(eval.py report=FILE.json)"
)


@dataclass(frozen=True, slots=True)
class Report:
    """A JSON file of figures."""

    path: Path
    content: dict[str, Any]


@dataclass
class Found:
    """What lies in the folders, in the order of its paths."""

    root: Path  # what all paths are shown relative to
    trainings: list[Path] = field(default_factory=list)  # folders
    evaluations: list[Report] = field(default_factory=list)
    benchmarks: list[Report] = field(default_factory=list)
    records: list[Path] = field(default_factory=list)  # episodes.jsonl
    problems: list[str] = field(default_factory=list)  # what could not be read

    def name(self, path: Path) -> str:
        """How a path is shown: relative to what was asked for."""
        shown = os.path.relpath(path.absolute(), self.root)
        return self.root.name if shown == "." else shown


def find(paths: Sequence[Path]) -> Found:
    """Everything in or below some folders; a path may also be one of the files.

    Raises:
        DataError: a path is not there or cannot be read, or nothing was found.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} is not there. Name a run's folder, e.g. outputs/demo, or a folder of runs.")
    places = [path.absolute() for path in paths]
    found = Found(Path(os.path.commonpath([p if p.is_dir() else p.parent for p in places])))
    seen: set[Path] = set()
    for file in (file for place in places for file in _files(place, found.problems)):
        if file.resolve() not in seen:
            seen.add(file.resolve())
            _take(found, file)
    if not (found.trainings or found.evaluations or found.benchmarks or found.records):
        problems = f" What could not be read: {' '.join(found.problems)}" if found.problems else ""
        raise DataError(f"No run in {', '.join(map(str, paths))}. Looked for {LOOKED_FOR}.{problems}")
    return found


def _files(place: Path, problems: list[str]) -> Iterator[Path]:
    """Files worth a look, sorted."""
    if place.is_file():
        yield place
        return

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read ({error.strerror}).")

    for folder, folders, names in os.walk(place, onerror=unreadable):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith(("screens-", ".")))
        for name in sorted(names):
            if (
                name in (METRICS, RECORD)
                or name.endswith(UNFINISHED)
                or (name.endswith(".json") and name != "run.json")
            ):
                yield Path(folder) / name


def _take(found: Found, file: Path) -> None:
    if file.name == RECORD:
        found.records.append(file)
    elif file.name == METRICS:
        found.trainings.append(file.parent)
    elif file.name.endswith(UNFINISHED):
        name, _, of = file.name.removesuffix(UNFINISHED).rpartition(".")
        found.problems.append(
            f"{found.name(file)}: {name} is still running or was stopped after {_lines(file):,} {of}: no figures."
        )
    elif file.suffix == ".json":
        content = _json(file, found)
        if (
            isinstance(content, dict)
            and isinstance(content.get("benchmark"), str)
            and isinstance(content.get("figures"), dict)
        ):
            found.benchmarks.append(Report(file, content))
        elif isinstance(content, dict) and "policy" in content and any(str(key).startswith("val/") for key in content):
            found.evaluations.append(Report(file, content))


def _lines(file: Path) -> int:
    try:
        with file.open("rb") as stream:
            return sum(raw.endswith(b"\n") for raw in stream)
    except OSError:
        return 0


def _json(file: Path, found: Found) -> Any:
    try:
        if file.stat().st_size > MOST_BYTES:
            found.problems.append(
                f"{found.name(file)} was not looked into: it has more than {MOST_BYTES / 1e6:.0f} MB."
            )
            return None
        return json.loads(file.read_bytes())
    except OSError as error:
        found.problems.append(f"{found.name(file)} cannot be read ({error.strerror}).")
    except (ValueError, RecursionError):
        found.problems.append(f"{found.name(file)} is no whole JSON: it was cut off, or is still being written.")
    return None
