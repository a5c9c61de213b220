"""What a conversion keeps beside its shards in `<out>/.conversion`, so that another run can go on after a `kill -9`.

    plan.json            arguments, versions, units and the sizes and times of the source's files: what may not change in between
    units/00012.json     the shards that are finished of unit 12, and whether the unit is
    units/00012.log      one line for each raw trajectory of the unit; appears when the unit has been read to its end
    lock                 held by every process that writes here

Each file appears whole or not at all. It knows nothing about converters or about what a shard holds.
"""

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tracer1.data.shard_writer import MANIFEST, finished_file
from tracer1.errors import ConfigError, DataError

STATE = ".conversion"
LOCK_WAIT_S = 10.0  # workers of a killed run leave as soon as they notice
AGAIN = "Give what it was begun with to go on, or another --out (or delete this folder) to start anew."


@dataclass(slots=True)
class UnitState:
    """How far a unit is."""

    shards: dict[str, dict[str, Any]] = field(default_factory=dict)  # by file name, as in the manifest
    finished: bool = False  # read to its end, or to the limit
    written: int = 0  # trajectories, once it is finished or damaged
    damaged: str = ""  # what its source said; such a unit starts anew in the next run
    renamed: list[str] = field(default_factory=list)  # shards that were, or are being, given other trajectory ids


class Folder:
    """The output folder of one conversion."""

    def __init__(self, out: Path) -> None:
        self.out, self.state = Path(out), Path(out) / STATE
        self.units = self.state / "units"

    def log(self, index: int) -> Path:
        """Where a unit's log is or will be."""
        return self.units / f"{index:05d}.log"

    def read(self, index: int) -> UnitState:
        """The state of a unit; a fresh one where nothing is known."""
        path = self.units / f"{index:05d}.json"
        return UnitState(**json.loads(path.read_bytes())) if path.exists() else UnitState()

    def can_go_on(self, state: UnitState) -> bool:
        """Whether a unit's source was whole so far and its shards are as they were."""
        return not state.damaged and all(
            (self.out / name).exists() and (name in state.renamed or (self.out / name).stat().st_size == entry["bytes"])
            for name, entry in state.shards.items()
        )

    def save(self, index: int, state: UnitState) -> None:
        """Puts the state on disk."""
        _write_json(self.units / f"{index:05d}.json", asdict(state))

    def restart(self, index: int, state: UnitState) -> UnitState:
        """Removes what there is of a unit, and gives its fresh state."""
        self.save(index, UnitState())  # first: a shard that is still known must be there
        for name in state.shards:
            (self.out / name).unlink(missing_ok=True)
        return UnitState()

    def sweep(self) -> None:
        """Removes what a killed run left half-written."""
        for folder in (self.out, self.state, self.units):
            for path in folder.glob("*.tmp"):
                path.unlink(missing_ok=True)

    def done(self) -> bool:
        """Whether the conversion has been finished."""
        manifest = self.out / MANIFEST
        return manifest.exists() and bool(json.loads(manifest.read_bytes()).get("complete"))

    def forget(self) -> None:
        """Removes what only an unfinished conversion needs."""
        shutil.rmtree(self.units, ignore_errors=True)

    @contextlib.contextmanager
    def shared_lock(self) -> Iterator[None]:
        """Held by a worker as long as it lives."""
        with open(self.state / "lock", "wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            yield


@contextlib.contextmanager
def opened(out: Path, plan: Mapping[str, Any]) -> Iterator[tuple[Folder, dict[str, Any]]]:
    """The folder for a conversion, new or to go on with, and its plan as it stands there. Nobody else writes to it meanwhile.

    Raises:
        ConfigError: The folder holds something else, or was begun with another plan; the message says what differs.
        DataError: Another run is writing there.
    """
    folder = Folder(out)
    if folder.out.exists() and not folder.out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder.")
    if folder.out.exists() and not folder.state.exists() and any(folder.out.iterdir()):
        raise ConfigError(
            f"--out {out} is not empty, and no conversion was begun there. Name another folder, or one that does not exist yet."
        )
    folder.units.mkdir(parents=True, exist_ok=True)
    with open(folder.state / "lock", "wb") as stream:
        _lock(stream, out)
        path = folder.state / "plan.json"
        if path.exists():
            known = json.loads(path.read_bytes())
            if problem := _difference(known, json.loads(json.dumps(plan)), folder):
                raise ConfigError(f"--out {out} {problem} {AGAIN}")
        known = {**plan, "started": known["started"] if path.exists() else time.time()}
        if not folder.done():  # on a second run, too: a damaged file may have been replaced
            _write_json(path, known)
        folder.sweep()
        yield folder, known


def _lock(stream: BinaryIO, out: Path) -> None:
    """Waits until no worker of a killed run is left, then holds the folder. Raises DataError where another run has it."""
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                raise DataError(
                    f"Another conversion is writing to {out}. Wait for it to end or stop it, then run this again."
                ) from None
            time.sleep(0.1)
    fcntl.flock(stream, fcntl.LOCK_SH)  # the workers hold it as well


def _difference(known: dict[str, Any], plan: dict[str, Any], folder: Folder) -> str:
    """How a plan differs from that of the run before, as the end of a sentence; empty where it does not."""
    for name, value in plan["arguments"].items():
        if known["arguments"].get(name) != value:
            option = name.replace("_", "-")
            return f"was begun with {option} {_said(known['arguments'].get(name))}, not {_said(value)}."
    for name, value in plan["code"].items():
        if known["code"].get(name) != value:
            return f"was begun with another version of tracer1 ({name} {known['code'].get(name)}, now {value})."
    if [unit["name"] for unit in known["units"]] != [unit["name"] for unit in plan["units"]]:
        return f"was begun when {plan['arguments']['source']} held other files."
    again = [bool(folder.read(index).damaged) for index in range(len(plan["units"]))]
    allowed = {unit["path"] for unit, damaged in zip(plan["units"], again, strict=True) if damaged}
    for old, new, damaged in zip(known["units"], plan["units"], again, strict=True):
        if old != new and not damaged:
            return f"was begun when {new['path']} was different (unit {new['name']})."
    for path, mark in plan["files"].items():
        if known["files"].get(path) != mark and path not in allowed:
            return f"was begun when {path} was different (its size or time has changed)."
    return ""


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _write_json(path: Path, content: Any) -> None:
    with finished_file(path) as stream:
        stream.write(f"{json.dumps(content, ensure_ascii=False, indent=1)}\n".encode())
