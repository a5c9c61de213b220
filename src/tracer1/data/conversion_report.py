"""Puts the logs of all units together: the report, the counts, the manifest, and ids that came in several units.

It knows nothing about converters or workers; it reads what they left in `<out>/.conversion`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tracer1.data.conversion_state import Folder, UnitState
from tracer1.data.conversion_unit import Names
from tracer1.data.records import SCHEMA_VERSION
from tracer1.data.shard_writer import MANIFEST, file_sha256, finished_file, rename_trajectories

REPORT = "report.jsonl"
KINDS = ("dropped", "cut", "repaired")


@dataclass(slots=True)
class Totals:
    """What a conversion amounts to."""

    trajectories: Counter[str] = field(default_factory=Counter)  # by split
    steps: Counter[str] = field(default_factory=Counter)  # by split
    not_asked_for: Counter[str] = field(default_factory=Counter)  # trajectories of other splits, by split
    notes: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})  # by reason
    damaged: list[dict[str, str]] = field(default_factory=list)  # units that could not be read to their end
    shards: dict[str, dict[str, Any]] = field(default_factory=dict)  # the manifest's entries

    def as_dict(self) -> dict[str, Any]:
        """The counts, in a fixed order."""
        named = ("trajectories", "steps", "not_asked_for")
        counts = {name: dict(sorted(getattr(self, name).items())) for name in named}
        return counts | {kind: dict(sorted(self.notes[kind].items())) for kind in KINDS}


def write_report(folder: Folder, units: Sequence[str]) -> Totals:
    """Writes `report.jsonl`: one line for everything dropped, cut or repaired, in the order of the source.

    Ids are unique within a unit already. Here each trajectory gets the id that one pass over the whole source would give it
    (`Names`), and shards in which that is another are written again; a run that is killed meanwhile does the same once more.

    Args:
        folder: Of the conversion; units without a log were not read.
        units: The units' names, in order.
    """
    totals, names = Totals(), Names()
    with finished_file(folder.out / REPORT) as report:
        for index, unit in enumerate(units):
            if folder.log(index).exists():
                _add_unit(folder, index, unit, names, totals, report)
    return totals


def _add_unit(folder: Folder, index: int, unit: str, names: Names, totals: Totals, report: BinaryIO) -> None:
    state, ids, other = folder.read(index), {}, set()
    for line in _lines(folder, index):
        if split := line.get("not_asked_for"):
            totals.not_asked_for[split] += 1
            continue
        said = [dict(zip(("kind", "record", "reason", "detail"), note, strict=True)) for note in line["notes"]]
        if shard := line.get("shard"):
            name = names.give(line["dataset"], line["trajectory"])
            if name != line["trajectory"]:
                detail = f"stored as {name}"
                said.append(_note("repaired", line["trajectory"], "duplicate id", detail))
            ids.setdefault(shard, []).append(name)
            if name != line["name"]:
                other.add(shard)
            totals.trajectories[line["split"]] += 1
            totals.steps[line["split"]] += line["steps"]
        for note in said:
            totals.notes.setdefault(note["kind"], Counter())[note["reason"]] += 1
            _write(report, note | {"unit": unit})
    if state.damaged:
        totals.damaged.append({"unit": unit, "error": state.damaged})
        _write(report, _note("damaged", unit, "unit not read to its end", state.damaged) | {"unit": unit})
    totals.shards |= _renamed(folder, index, state, ids, other)


def _renamed(
    folder: Folder, index: int, state: UnitState, ids: Mapping[str, list[str]], other: set[str]
) -> dict[str, dict[str, Any]]:
    """The entries of the unit's shards, after those in `other` (and those renamed by an earlier run) have got the given ids."""
    again = sorted(other | set(state.renamed))
    if again != sorted(state.renamed):
        state.renamed = again  # before they are touched: from now on their bytes are not those that the worker noted
        folder.save(index, state)
    entries = dict(state.shards)
    for shard in again:
        path = folder.out / shard
        rename_trajectories(path, ids[shard])
        entries[shard] = {**entries[shard], "bytes": path.stat().st_size, "sha256": file_sha256(path)}
    return entries


def _lines(folder: Folder, index: int) -> Iterator[dict[str, Any]]:
    with open(folder.log(index), "rb") as log:
        for line in log:
            yield json.loads(line)


def _note(kind: str, record: str, reason: str, detail: str) -> dict[str, str]:
    return {"kind": kind, "record": record, "reason": reason, "detail": detail}


def _write(stream: BinaryIO, content: Mapping[str, Any]) -> None:
    stream.write(f"{json.dumps(content, ensure_ascii=False)}\n".encode(errors="backslashreplace"))


def write_manifest(folder: Folder, head: Mapping[str, Any], totals: Totals) -> None:
    """Writes `manifest.json`: what is in the shards, where it came from and how it was made. It says when all is finished."""
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "complete": not totals.damaged,
        **head,
        "counts": totals.as_dict(),
        "damaged": totals.damaged,
        "shards": dict(sorted(totals.shards.items())),
    }
    with finished_file(folder.out / MANIFEST) as stream:
        stream.write(f"{json.dumps(manifest, ensure_ascii=False, indent=1)}\n".encode(errors="backslashreplace"))


def tables(counts: Mapping[str, Mapping[str, int]], shards: Mapping[str, Mapping[str, Any]], title: str) -> list[Any]:
    """The manifest's counts as rich tables: what was written, and what was dropped, cut or repaired."""
    from rich.table import Table

    written = Table("split", "trajectories", "steps", "shards", "MB", title=title)
    for split in sorted({*counts["trajectories"], *counts["not_asked_for"]}):
        own = [entry for entry in shards.values() if entry["split"] == split]
        if split in counts["not_asked_for"]:
            written.add_row(split, f"{counts['not_asked_for'][split]:,} not asked for", "", "", "")
        else:
            numbers = (counts["trajectories"][split], counts["steps"][split], len(own))
            written.add_row(split, *(f"{n:,}" for n in numbers), f"{sum(e['bytes'] for e in own) / 1e6:,.1f}")
    if not any(counts[kind] for kind in KINDS):
        return [written]
    notes = Table("", "reason", "times", title="Dropped, cut or repaired")
    for kind in KINDS:
        for reason, count in sorted(counts[kind].items(), key=lambda item: -item[1]):
            notes.add_row(kind, reason, f"{count:,}")
    return [written, notes]
