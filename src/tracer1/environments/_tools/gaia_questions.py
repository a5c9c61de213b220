"""Reads GAIA's questions from metadata.jsonl as its owner lays it out. Evaluation data: nothing is ever trained on it, nor passed on.

Released as gaia-benchmark/GAIA on Hugging Face, whose terms one has to accept: 2023/validation and 2023/test, each a folder with
metadata.jsonl and the attachments beside it. The test split has no answers. It knows no figure and no agent.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer1.errors import ConfigError, DataError
from tracer1.json_lines import read_object
from tracer1.registry import nearest

RELEASE = "gaia-benchmark/GAIA on Hugging Face (accept its terms there), the folder 2023/validation or 2023/test"
FILE = "metadata.jsonl"
SPLITS = ("validation", "test")
HIDDEN = ("", "?")  # what the test split has in place of an answer
_NEEDED = ("task_id", "Question", "Level")


@dataclass(frozen=True, slots=True)
class GaiaQuestion:
    """One question."""

    key: str
    question: str
    level: int  # 1..3
    answer: str | None  # None: its owner keeps it
    file: Path | None  # absolute; it need not be there


def find_gaia(source: Path, split: str) -> Path | None:
    """metadata.jsonl of the split: the file itself, or in its folder, or in the whole release; None where `source` has none."""
    if source.is_file():
        return source if source.suffix == ".jsonl" else None
    places = (source / split, source / "2023" / split, source)
    return next((place / FILE for place in places if (place / FILE).is_file()), None)


def read_gaia(source: str | Path, split: str = "validation") -> list[GaiaQuestion]:
    """All questions of a split, in the file's order.

    Args:
        source: The release, a split's folder, or its metadata.jsonl; attachments are looked for beside that file.
        split: `validation` or `test`.

    Raises:
        ConfigError: no such split, or the folder is another split's.
        DataError: no such file, or not of GAIA's layout; the message names the line.
    """
    if split not in SPLITS:
        raise ConfigError(f"split={split!r}: GAIA has {' and '.join(SPLITS)}.{nearest(str(split), list(SPLITS))}")
    path = find_gaia(Path(source), split)
    if path is None:
        raise DataError(f"{source}: there is no {FILE} of the split {split}. GAIA is released as {RELEASE}.")
    if path.absolute().parent.name in set(SPLITS) - {split}:
        raise ConfigError(
            f"{path} is not of the split {split}: set split={path.absolute().parent.name}, or name its folder."
        )
    questions: dict[str, GaiaQuestion] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        found = _question(
            read_object(line, f"{path}:{number}", "GAIA's fields"), f"{path}:{number}", path.parent.absolute()
        )
        if found.key in questions:
            raise DataError(f"{path}:{number}: the task_id {found.key!r} is there twice.")
        questions[found.key] = found
    if not questions:
        raise DataError(f"{path} holds no question. GAIA is released as {RELEASE}.")
    return list(questions.values())


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. GAIA is released as {RELEASE}.") from None


def _question(fields: Mapping[str, Any], where: str, folder: Path) -> GaiaQuestion:
    for name in _NEEDED:
        if name not in fields:
            hint = nearest(name, [str(key) for key in fields])
            raise DataError(f"{where}: `{name}` is missing.{hint} GAIA is released as {RELEASE}.")
    level = fields["Level"]
    if str(level) not in ("1", "2", "3"):
        raise DataError(f"{where}: `Level` is {json.dumps(level):.40}; it is 1, 2 or 3.")
    for name in ("task_id", "Question"):
        if not isinstance(fields[name], str) or not fields[name].strip():
            raise DataError(f"{where}: `{name}` must be a text, got {fields[name]!r:.60}.")
    answer, file = fields.get("Final answer"), fields.get("file_name") or ""
    if not isinstance(file, str):
        raise DataError(f"{where}: `file_name` must be a text, got {file!r:.60}.")
    if Path(file).name != file:
        raise DataError(f"{where}: `file_name` must name a file beside {FILE}, got {file!r:.60}.")
    return GaiaQuestion(
        key=fields["task_id"],
        question=fields["Question"],
        level=int(level),
        answer=None if answer is None or str(answer).strip() in HIDDEN else str(answer),
        file=folder / file if file else None,
    )
