"""The files of one run: `metrics.jsonl` (every figure, the source of truth) and `run.json` (which MLflow run it is).

It knows nothing about MLflow or Lightning. `metrics.jsonl` only ever grows, so that a kill at any moment loses nothing.
One JSON object per line, of five kinds:

    {"time": 1767225600.0, "round": 3, "step": 11, "reward/total": 0.41, ...}   one log call
    {"time": ..., "artifact": "tables/val-0003"}                                a file or folder, relative to the run's
    {"time": ..., "model": {"name": ..., "folder": "policy", "tags": {...}}}    a folder that becomes a version of a registered model
    {"time": ..., "dataset": {"name": ..., "digest": ..., "context": ...}}      what is trained or validated on
    {"time": ..., "resumed_at_step": 8}                                         earlier lines of step >= 8 are superseded
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from tracer1.errors import DataError

NOT_METRICS = ("time", "round", "step")
FILES = ("artifact", "model")  # lines that bring files with them


@dataclass
class RunRecord:
    """What `run.json` holds: how a resumed training finds its MLflow run again."""

    run_id: str | None = None  # MLflow's id; None until the server has answered for the first time
    uid: str = ""  # ours, a tag of the MLflow run: finds a run whose creation was never acknowledged
    run_name: str = ""
    experiment: str = ""
    tracking_uri: str = ""
    sent_bytes: int = 0  # how much of metrics.jsonl MLflow has acknowledged
    late: list[dict[str, Any]] = field(default_factory=list)  # acknowledged lines whose files MLflow has not got yet
    origin: dict[str, str] = field(default_factory=dict)  # git commit and versions of the code that ran last

    @classmethod
    def load(cls, path: Path) -> "RunRecord":
        """Reads `run.json`; an absent file gives an empty record. Raises DataError for a file that is not a run's."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{field.name: content[field.name] for field in fields(cls) if field.name in content})
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path} is damaged ({error}). Delete it: the training then starts a new MLflow run."
            ) from error

    def save(self, path: Path) -> None:
        """Writes `run.json` whole or not at all."""
        draft = path.with_name(path.name + ".part")
        draft.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        os.replace(draft, path)


class Journal:
    """Appends lines to `metrics.jsonl`, each in one write, visible to every reader at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab", buffering=0)
        if self._file.tell() and path.read_bytes()[-1:] != b"\n":
            self._file.write(b"\n")  # a kill in the middle of a line: readers skip its half, ours starts on a new one

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds one line. Numbers that JSON has no notation for are written as "nan", "inf" and "-inf"."""
        content = {key: _to_json(value) for key, value in line.items()}
        self._file.write(json.dumps(content).encode() + b"\n")


def read_lines(path: Path, offset: int = 0, limit: int | None = None) -> Iterator[tuple[dict[str, Any], int]]:
    """Yields (line, offset of its end) for the complete lines from byte `offset` on; half lines are skipped."""
    with path.open("rb") as file:
        file.seek(offset)
        for count, raw in enumerate(file):
            if (limit is not None and count >= limit) or not raw.endswith(b"\n"):
                return
            offset += len(raw)
            try:
                line = json.loads(raw)
            except ValueError:
                line = {}  # half a line; its bytes count, so that the offset stays right
            yield {key: _from_json(value) for key, value in line.items()} if isinstance(line, dict) else {}, offset


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The log calls that count, in order: those of steps that a resumed training did again are left out.

    Args:
        path: A run's `metrics.jsonl`.

    Returns:
        One dict per log call with `time`, `round` (where known), `step` and the metrics as floats.
    """
    kept: list[dict[str, Any]] = []
    for line, _ in read_lines(path):
        if "resumed_at_step" in line:
            kept = [earlier for earlier in kept if earlier["step"] < line["resumed_at_step"]]
        elif "step" in line:
            kept.append(line)
    return kept


def figures(line: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of one line, without its time, round and step."""
    return {name: float(value) for name, value in line.items() if name not in NOT_METRICS}


def _to_json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value


def move_aside(folder: Path) -> None:
    """Keeps the files of an earlier run in the same folder under names that carry the time."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    for name in ("metrics.jsonl", "run.json", "config.yaml"):
        path = folder / name
        if path.exists():
            path.rename(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))
