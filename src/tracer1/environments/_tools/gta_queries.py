"""Reads GTA's queries from dataset.json as its owner lays it out. Evaluation data: nothing is ever trained on it.

Released as Jize1/GTA on Hugging Face, and as gta_dataset.zip (v0.1.0) of open-compass/GTA (Apache-2.0). It knows no figure and no agent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer1.errors import DataError
from tracer1.metrics.answer_rules import GtaGold
from tracer1.metrics.answer_rules._gta import read_gta_gold
from tracer1.metrics.gta import call_of

RELEASE = "Jize1/GTA on Hugging Face, or gta_dataset.zip of github.com/open-compass/GTA, release v0.1.0"
FILE = "dataset.json"


@dataclass(frozen=True, slots=True)
class GtaQuery:
    """One query with its reference."""

    key: str
    instruction: str
    root: Path  # absolute: where its files' names begin
    names: tuple[str, ...]  # of its files, as the data set calls them
    tools: tuple[Mapping[str, Any], ...]  # as in toolmeta.json: name, description, inputs, outputs
    dialogs: tuple[
        Mapping[str, Any], ...
    ]  # the whole reference dialog; paths of files that are there are absolute in its calls
    gold: GtaGold
    kind: str  # objective | subjective | image, or unknown where the file has no gt_answer

    @property
    def files(self) -> tuple[Path, ...]:
        """Absolute paths; they need not be there."""
        return tuple(self.root / name for name in self.names)

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Name and arguments of the reference's calls, in order."""
        return [call for turn in self.dialogs if (call := call_of(turn)) is not None]

    @property
    def missing(self) -> list[Path]:
        """The files that are not there."""
        return [path for path in self.files if not path.is_file()]


def read_gta(source: str | Path) -> list[GtaQuery]:
    """All queries, in the file's order.

    Args:
        source: dataset.json, or the folder that holds it; images are looked for beside it.

    Raises:
        DataError: no such file, or not of GTA's layout; the message names the query.
    """
    path = Path(source) / FILE if Path(source).is_dir() else Path(source)
    try:
        queries = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.{others_in(Path(source))} GTA is released as {RELEASE}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a file of UTF-8 JSON ({' '.join(str(error).split())}).") from None
    if not isinstance(queries, dict):
        raise DataError(f"{path}: an object of queries is needed, got {queries!r:.60}. GTA is released as {RELEASE}.")
    if not queries:
        raise DataError(f"{path} holds no query. GTA is released as {RELEASE}.")
    return [_query(key, item, path) for key, item in queries.items()]


def others_in(folder: Path) -> str:
    """A hint that names other JSON files of a folder; empty where there are none."""
    names = ", ".join(sorted(found.name for found in folder.glob("*.json")))[:200] if folder.is_dir() else ""
    return f" Is it one of {names}? Then name that file." if names else ""


def _query(key: str, item: Any, path: Path) -> GtaQuery:
    where, root = f"{path}: query {key!r}", path.parent.absolute()
    if not isinstance(item, Mapping):
        raise DataError(f"{where} is no object.")
    dialogs, files, tools = (_objects(item, name, where) for name in ("dialogs", "files", "tools"))
    if not dialogs or dialogs[0].get("role") != "user" or not isinstance(dialogs[0].get("content"), str):
        raise DataError(f"{where}: `dialogs` must begin with the user's turn.")
    for name, objects, field in (("files", files, "path"), ("tools", tools, "name")):
        if not all(isinstance(found.get(field), str) for found in objects):
            raise DataError(f"{where}: every one of `{name}` needs a `{field}`.")
    try:
        gold = read_gta_gold(item.get("gt_answer"))
    except ValueError as error:
        raise DataError(f"{where}: `gt_answer`: {error}.") from None
    return GtaQuery(
        key=key,
        instruction=dialogs[0]["content"],
        root=root,
        names=tuple(found["path"] for found in files),
        tools=tuple(tools),
        dialogs=tuple(_with_absolute_paths(turn, root) for turn in dialogs),
        gold=gold,
        kind=_kind(gold) if "gt_answer" in item else "unknown",
    )


def _objects(item: Mapping[str, Any], name: str, where: str) -> Sequence[Mapping[str, Any]]:
    found = item.get(name)
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise DataError(f"{where}: `{name}` must be a list of objects, got {found!r:.60}.")
    return found


def _kind(gold: GtaGold) -> str:
    if gold is None:
        return "image"
    return "objective" if isinstance(gold, Mapping) else "subjective"


def _with_absolute_paths(turn: Mapping[str, Any], root: Path) -> Mapping[str, Any]:
    """The turn with arguments that name a file below `root` made absolute, as the owner's loader does: agents are told such paths."""
    call = call_of(turn)
    if call is None or not isinstance(call[1], Mapping):
        return turn
    arguments = {name: absolute(value, root) for name, value in call[1].items()}
    first, *others = turn["tool_calls"]
    return {**turn, "tool_calls": [{**first, "function": {**first["function"], "arguments": arguments}}, *others]}


def absolute(value: Any, root: Path) -> Any:
    """The absolute path of a text that names a file below `root`; any other value as it is."""
    try:
        there = isinstance(value, str) and value != "" and (root / value).is_file()
    except (OSError, ValueError):  # a text too long for a path, or with a zero byte
        there = False
    return str(root / value) if there else value
