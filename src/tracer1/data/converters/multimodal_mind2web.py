"""Multimodal-Mind2Web (parquet, one row = one step), and Mind2Web's own JSON (one element = one task, no screenshots).

The owner's rows of a task need not stand together: in the order of UGround's list of test_task, four of its 177 tasks begin in one
file and end in another. So a unit is a file, and a task belongs to the file that holds its first row; a first pass over the ids of all
files of the split says which.
Format, mapping and traps: GUI data, section A.4. It knows nothing about shards or scoring.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer1.data.converters import CONVERTERS
from tracer1.data.converters._json_spans import json_spans
from tracer1.data.converters._mind2web_step import COLUMNS, row_draft, written_draft
from tracer1.data.converters._parquet_rows import ParquetRows
from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.errors import DataError
from tracer1.interfaces import Converted, Note, Task, Unit

NAME = "multimodal_mind2web"
_SPLIT = re.compile(r"(train|test_task|test_website|test_domain)(?=[-_.])")

Places = list[tuple[int, int, Any]]  # file, row, `target_action_index`


class MultimodalMind2Web:
    """The converter; see `interfaces.Converter`."""

    licence = "OpenRAIL"
    release = (
        "osunlp/Multimodal-Mind2Web on Hugging Face: data/{train,test_task,test_website,test_domain}-*.parquet; or the JSON "
        "files of osunlp/Mind2Web"
    )
    platform = "web"

    def units(self, source: Path) -> Sequence[Unit]:
        """One unit per file. Every parquet file must say in its name which split it holds."""
        source = Path(source)
        paths, root = ([source], source.parent) if source.is_file() else (sorted(source.rglob("*.parquet")), source)
        if not paths:
            paths = sorted(path for path in source.rglob("*.json") if _SPLIT.match(path.name))
        if not paths:
            raise DataError(f"{source} holds no file of Multimodal-Mind2Web. It is released as {self.release}.")
        splits: dict[str, list[str]] = {}
        for path in paths:
            if not (found := _SPLIT.match(path.name)):
                raise DataError(
                    f"{path}: its name does not say its split. Name it as the owner does, train-*, test_task-*, test_website-* or "
                    "test_domain-*, or move it away."
                )
            splits.setdefault(found[1], []).append(str(path))
        return [
            Unit(path.relative_to(root).as_posix(), str(path), more={"split": split, "files": files})
            for split, files in splits.items()
            for path in map(Path, files)
        ]

    def read(self, unit: Unit) -> Iterator[Converted]:
        """The tasks whose first row is in the unit's file, in the order of those rows."""
        if unit.path.endswith(".json"):
            for task, _, _ in json_spans(Path(unit.path)):
                yield _from_json(task, unit.more["split"])
            return
        files = tuple(unit.more["files"])
        here = files.index(unit.path)
        readers: dict[int, ParquetRows] = {}
        for task_id, places in _index(files, tuple(map(_version, files))).items():
            if not task_id:
                yield from (
                    _nameless(f"{unit.name} row {row}", unit.more["split"]) for file, row, _ in places if file == here
                )
            elif places[0][0] == here:
                yield _from_rows(task_id, places, files, readers, unit.more["split"])


def _version(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Correct --source.") from error
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=2)
def _index(files: tuple[str, ...], versions: tuple[tuple[int, int], ...]) -> dict[str, Places]:
    """Where the rows of each task are, in the order of the files; rows without an id under "". Reads two small columns of each.

    Args:
        files: All files of the split.
        versions: Their times and sizes: an index of other files is no answer.
    """
    found: dict[str, Places] = {}
    for number, path in enumerate(files):
        rows = ParquetRows(path, COLUMNS)
        ids, indices = rows.column("annotation_id"), rows.column("target_action_index")
        for row, (task_id, index) in enumerate(zip(ids, indices, strict=True)):
            found.setdefault(str(task_id or ""), []).append((number, row, index))
    return found


def _from_rows(
    task_id: str, places: Places, files: tuple[str, ...], readers: dict[int, ParquetRows], split: str
) -> Converted:
    def get(place: tuple[int, int]) -> dict[str, Any]:
        if place[0] not in readers:
            readers[place[0]] = ParquetRows(files[place[0]], COLUMNS)
        return readers[place[0]].row(place[1])

    said: list[Note] = []
    by_index: dict[int, tuple[int, int]] = {}
    broken = None
    for file, row, index in places:
        if not str(index).isdecimal():
            broken = Unusable("step number is no number", f"{files[file]} row {row}: {index!r:.40}", whole=True)
        elif int(index) in by_index:
            said.append(Note("repaired", f"{task_id}/{index}", "row comes twice", f"{files[file]} row {row} left out"))
        else:
            by_index[int(index)] = file, row
    first = get(places[0][:2])
    reprs = list(first["action_reprs"] or ())

    def drafts() -> Iterator[Draft]:
        if broken is not None:
            raise broken
        for number in range(max([len(reprs), *(n + 1 for n in by_index)])):
            record = f"{task_id}/{number}"
            if number in by_index:
                yield row_draft(get(by_index[number]), _at(reprs, number), record, said)
            else:
                yield written_draft(_at(reprs, number), first["website"], record, said)

    return _finished(_task(first, split), drafts(), said)


def _from_json(task: Any, split: str) -> Converted:
    if not isinstance(task, dict) or not task.get("annotation_id"):
        return _nameless(f"{task!r:.60}", split)
    said: list[Note] = []
    reprs = list(task.get("action_reprs") or ())
    drafts = (
        row_draft({**task, **action}, _at(reprs, number), f"{task['annotation_id']}/{number}", said)
        for number, action in enumerate(task.get("actions") or ())
    )
    return _finished(_task(task, split), drafts, said)


def _nameless(detail: str, split: str) -> Converted:
    note = Note("dropped", "unknown", "no annotation_id", detail)
    return Converted(_task({"annotation_id": "unknown"}, split), (), (note,))


def _finished(task: Task, drafts: Iterator[Draft], said: list[Note]) -> Converted:
    """`finish`, with the notes that were taken while the drafts were read."""
    done = finish(task, drafts)
    return replace(done, notes=(*said, *done.notes))


def _at(reprs: list[str], number: int) -> str:
    return str(reprs[number] or "") if number < len(reprs) else ""


def _task(row: dict[str, Any], split: str) -> Task:
    return Task(
        dataset=NAME,
        trajectory=str(row["annotation_id"]),
        instruction=row.get("confirmed_task") or "",
        platform=MultimodalMind2Web.platform,
        split=split,
        meta={
            "licence": MultimodalMind2Web.licence,
            "source_ref": "osunlp/Multimodal-Mind2Web",
            **{name: row.get(name) for name in ("website", "domain", "subdomain")},
        },
    )


CONVERTERS.register(NAME)(MultimodalMind2Web())
