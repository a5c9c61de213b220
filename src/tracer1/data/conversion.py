"""Converts a raw data set into shards: finds its units, has them converted side by side, and writes manifest and report.

Everything about going on after a stop stands in `conversion_state.py`, about one unit in `conversion_unit.py`, about processes in
`conversion_pool.py`. It knows nothing about any data set's format.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tracer1 import actions
from tracer1.data import drafts, images, records
from tracer1.data.conversion_pool import InProcess, Pool
from tracer1.data.conversion_progress import FIELDS, MILLION, Display
from tracer1.data.conversion_report import tables, write_manifest, write_report
from tracer1.data.conversion_state import Folder, opened
from tracer1.data.conversion_unit import Job
from tracer1.data.converters import CONVERTERS
from tracer1.data.shard_writer import MANIFEST
from tracer1.data.splits import CHOICES
from tracer1.errors import ConfigError, DataError
from tracer1.interfaces import Converter, Unit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to convert, and how.

    Raises:
        ConfigError: A setting that cannot work.
    """

    dataset: str
    source: Path
    out: Path
    splits: Sequence[str] = ("train", "val")  # of `splits.CHOICES`; the owner's test split only when it is asked for
    workers: int | None = None  # None: one per core that this process may use
    limit: int | None = None  # at most so many trajectories are written, the first ones of the source; units one by one
    max_shard_mb: float = 512  # 10^6 bytes
    val_fraction: float = 0.02  # share of trajectories that goes to val where the owner has no split
    plugins: Sequence[str] = ()  # modules that register converters of the user's

    def __post_init__(self) -> None:
        if unknown := [split for split in self.splits if split not in CHOICES]:
            raise ConfigError(f"--split {unknown[0]} is none of {', '.join(CHOICES)}.")
        for name, least in (("workers", 1), ("limit", 1), ("max_shard_mb", 1e-6)):
            if (value := getattr(self, name)) is not None and not value >= least:
                raise ConfigError(
                    f"--{name.replace('_', '-')} is {value}; it must be {'above 0' if least < 1 else 'at least 1'}."
                )
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"--val-fraction is {self.val_fraction}; give a share from 0 to below 1, e.g. 0.02.")


def convert(conversion: Conversion, console: Console) -> None:
    """Converts, or goes on where an earlier run was stopped; says on the console what came of it.

    Args:
        conversion: What to do.
        console: For progress and the summary, usually stderr.

    Raises:
        ConfigError: An unknown data set, or an `out` that holds something else.
        DataError: A source that is missing or damaged (after all other units are finished), or no space left.
        KeyboardInterrupt: Ctrl-C; the same call goes on from there.
    """
    converter: Converter = CONVERTERS.get(conversion.dataset)
    if not conversion.source.exists():
        raise DataError(
            f"There is no {conversion.source}. Correct --source: it names {conversion.dataset} as its owner releases it."
        )
    with console.status("looking through the source") if console.is_terminal else nullcontext():
        units = _units(conversion, converter)
    with opened(conversion.out, _plan(conversion, converter, units)) as (folder, plan):
        if folder.done():
            folder.forget()
            console.print(f"{conversion.out} is finished already: nothing to do.", highlight=False, soft_wrap=True)
            return
        hashes = _run(conversion, converter, units, folder, console)
        _check_unchanged(plan["files"])
        totals = write_report(folder, [unit.name for unit in units])
        write_manifest(folder, _head(converter, plan, hashes), totals)
        if not totals.damaged:
            folder.forget()
    console.print(*tables(totals.as_dict(), totals.shards, f"{conversion.out}: {conversion.dataset}"))
    _complain(conversion, totals.damaged, bool(totals.shards))


def _units(conversion: Conversion, converter: Converter) -> list[Unit]:
    units = list(converter.units(Path(os.path.abspath(conversion.source))))
    if not units:
        raise DataError(f"{conversion.source} holds nothing of {conversion.dataset}. Correct --source.")
    assert len({unit.name for unit in units}) == len(units), "the converter gives two units one name"
    return units


def _plan(conversion: Conversion, converter: Converter, units: Sequence[Unit]) -> dict[str, Any]:
    """All that the shards' bytes depend on: what must be the same for a run to go on."""
    files = {path: _mark(path) for unit in units for path in files_of(unit)}
    return {
        "arguments": {
            "dataset": conversion.dataset,
            "source": os.path.abspath(conversion.source),
            "split": sorted(set(conversion.splits), key=CHOICES.index),
            "limit": conversion.limit,
            "max_shard_mb": conversion.max_shard_mb,
            "val_fraction": conversion.val_fraction,
        },
        "code": {"tracer1": _version(), "schema": records.SCHEMA_VERSION, "converter": _code_sha256(converter)},
        "units": [
            {"name": unit.name, "path": unit.path, "start": unit.start, "end": unit.end, "more": _sha256(unit.more)}
            for unit in units
        ],
        "files": files,
    }


def files_of(unit: Unit) -> Iterator[str]:
    """The files that a unit names, in its path or in what else it knows; of a folder only those that it lists."""
    named = [unit.path]
    for value in unit.more.values():
        named += [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    for name in dict.fromkeys(name for name in named if isinstance(name, str)):
        if os.path.isfile(path := os.path.join(unit.path, name)) or os.path.isfile(path := name):
            yield path


def _run(
    conversion: Conversion, converter: Converter, units: Sequence[Unit], folder: Folder, console: Console
) -> dict[str, str]:
    """Converts the units that are not finished; returns the checksum of each file that was read."""
    jobs = [
        Job(
            conversion.dataset,
            unit,
            index,
            conversion.out,
            conversion.splits,
            conversion.val_fraction,
            conversion.max_shard_mb,
        )
        for index, unit in enumerate(units)
    ]
    states = [folder.read(job.index) for job in jobs]
    ready = {job.index for job, state in zip(jobs, states, strict=True) if state.finished and folder.can_go_on(state)}
    if any(state.shards for state in states):
        say = f"Going on: {len(ready):,} of {len(units):,} units and {sum(len(s.shards) for s in states):,} shards are finished."
        console.print(say, highlight=False, soft_wrap=True)
    workers = min(conversion.workers or len(os.sched_getaffinity(0)), len(units))
    alone = workers == 1 or conversion.limit is not None
    modules = (*conversion.plugins, type(converter).__module__)
    runner = nullcontext(InProcess(len(units))) if alone else Pool(len(units), workers, conversion.out, modules)
    with runner as runs:
        for index in ready:
            shards = states[index].shards.values()
            counts = [sum(entry[name] for entry in shards) for name in ("trajectories", "steps")]
            runs.board[index * FIELDS : index * FIELDS + FIELDS] = [*counts, MILLION]
        with Display(console, conversion.dataset, units, runs.board) as display:
            runs.convert([job for job in jobs if alone or job.index not in ready], conversion.limit, display)
            display.say("checksums of the source")
            used = [unit for index, unit in enumerate(units) if folder.log(index).exists()]
            return runs.hash(sorted({path for unit in used for path in files_of(unit)}), display)


def _mark(path: str) -> list[int]:
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns]


def _check_unchanged(files: Mapping[str, Sequence[int]]) -> None:
    for path, mark in files.items():
        if _mark(path) != list(mark):
            raise DataError(f"{path} changed while it was converted. Delete the output folder and convert again.")


def _head(converter: Converter, plan: Mapping[str, Any], hashes: Mapping[str, str]) -> dict[str, Any]:
    """The manifest's lines on where the shards come from."""
    source = Path(plan["arguments"]["source"])
    sources = [
        {
            "file": os.path.relpath(path, source if source.is_dir() else source.parent),
            "bytes": plan["files"][path][0],
            "sha256": digest,
        }
        for path, digest in hashes.items()
    ]
    return {
        "dataset": plan["arguments"]["dataset"],
        "platform": converter.platform,
        "licence": converter.licence,
        "release": converter.release,
        "arguments": plan["arguments"],
        "versions": plan["code"],
        "units": len(plan["units"]),
        "times": {"started": _time(plan["started"]), "finished": _time(time.time())},
        "sources": sources,
    }


def _complain(conversion: Conversion, damaged: Sequence[Mapping[str, str]], written: bool) -> None:
    if damaged:
        more = f" {len(damaged) - 1} more in {conversion.out / MANIFEST}." if len(damaged) > 1 else ""
        raise DataError(
            f"{damaged[0]['error']} What came before it and all other units are converted; run the same command again once the file "
            f"is whole.{more}"
        )
    if not written:
        raise DataError(
            f"No trajectory of {conversion.source} was written: the table above and {conversion.out} say why."
        )


def _version() -> str:
    try:
        return importlib.metadata.version("tracer1")
    except importlib.metadata.PackageNotFoundError:
        return "from source"


def _code_sha256(converter: Converter) -> str:
    """Of the files that decide what becomes of a record: the converter's, private ones beside it, and what all converters share."""
    own = Path(sys.modules[type(converter).__module__].__file__ or "")
    shared = [Path(module.__file__ or "") for module in (actions, drafts, images, records)]
    files = [own, *sorted(own.parent.glob("_[!_]*.py")), *shared]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
