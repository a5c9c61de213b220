"""Reads the file of a run's episodes back. It knows its lines (`record.py` writes them), and nothing of who wants them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tracer1.errors import DataError
from tracer1.plan_act.episode import Job
from tracer1.plan_act.record import FILE, VERSION
from tracer1.schema import Action, Plan, PlanStep


@dataclass(frozen=True, slots=True)
class RecordedTry:
    """One plan."""

    response: str
    truncated: bool
    plan: Plan
    error: str  # why it could not be acted upon
    error_kind: str


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One pass of the loop."""

    number: int  # 1-based
    screenshot: Path
    text: str
    executed_before: int  # steps
    tries: tuple[RecordedTry, ...]
    action: Action | None  # None: lost
    ended: bool
    seconds: Mapping[str, float]  # observe, plan, execute
    shown: bool = True  # whether the planner saw the screenshot


@dataclass
class RecordedEpisode:
    """The last attempt at a job."""

    number: int
    attempt: int
    job: Job
    instruction: str = ""
    turns: list[RecordedTurn] = field(default_factory=list)
    broken: RecordedTurn | None = None  # the one in which environment or executor failed
    end: str = ""  # empty: cut off
    score: float | None = None
    fault: str = ""
    last: Path | None = None  # the screenshot when it ended
    last_shown: bool = True  # whether the planner would have seen it
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """Executed steps."""
        return sum(turn.action is not None for turn in self.turns)

    @property
    def retried(self) -> int:
        """Plans that were sampled again."""
        return sum(len(turn.tries) - 1 for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole file."""

    path: Path
    settings: Mapping[str, Any]
    episodes: tuple[RecordedEpisode, ...]  # by number


def read_record(path: Path) -> Recording:
    """The episodes of a file; `path` may also be its folder. A last line that a kill has cut is left out.

    Raises:
        DataError: no such file, or no record.
    """
    file = path / FILE if path.is_dir() else path
    settings: Mapping[str, Any] = {}
    found: dict[int, RecordedEpisode] = {}
    number = 0
    try:
        for number, raw in _lines(file):
            line = _object(raw)
            if number == 1:
                settings = _settings(line)
            elif line["kind"] in ("turn", "fault", "end"):  # a later version may write others
                _take(_episode(found, line), line, file.parent)
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}. A run of agent.py writes {FILE} into its folder."
        ) from error
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{file}, line {number}: no record of episodes ({type(error).__name__}: {error}). Record it again."
        ) from error
    if not number:
        raise DataError(f"{file} is empty. Record it again with agent.py.")
    return Recording(file, settings, tuple(found[key] for key in sorted(found)))


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines with their numbers, from 1."""
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            if raw.endswith(b"\n"):
                yield number, raw


def _object(raw: bytes) -> dict[str, Any]:
    line = json.loads(raw)
    if not isinstance(line, dict):
        raise ValueError("a line is no object")
    return line


def _settings(line: Mapping[str, Any]) -> Mapping[str, Any]:
    if line["kind"] != "run":
        raise ValueError("it does not begin with a line of the kind `run`")
    if line["version"] > VERSION:
        raise ValueError(f"it has version {line['version']}, this tracer1 reads {VERSION}: update it")
    return line["settings"]


def _episode(found: dict[int, RecordedEpisode], line: Mapping[str, Any]) -> RecordedEpisode:
    number, attempt = line["episode"], line["attempt"]
    if number not in found or found[number].attempt < attempt:
        found[number] = RecordedEpisode(number, attempt, Job(line["task"], line["seed"], line["sample"]))
    return found[number]


def _take(episode: RecordedEpisode, line: Mapping[str, Any], folder: Path) -> None:
    episode.instruction = line["instruction"]
    if line["kind"] == "turn":
        episode.turns.append(_turn(line, folder))
        return
    if line["kind"] == "fault":
        episode.broken = _turn(line, folder)
        return
    episode.end, episode.score, episode.fault = line["end"], line["score"], line["fault"]
    episode.last = None if line["screenshot"] is None else folder / line["screenshot"]
    episode.last_shown = line.get("shown", True)
    episode.seconds = line["seconds"]


def _turn(line: Mapping[str, Any], folder: Path) -> RecordedTurn:
    return RecordedTurn(
        number=line["turn"],
        screenshot=folder / line["screenshot"],
        text=line["text"],
        executed_before=line["executed_before"],
        tries=tuple(
            RecordedTry(one["response"], one["truncated"], _plan(one["plan"]), one["error"], one["error_kind"])
            for one in line["tries"]
        ),
        action=None if line["action"] is None else _action(line["action"]),
        ended=line["ended"],
        seconds=line["seconds"],
        shown=line.get("shown", True),
    )


def _plan(values: Mapping[str, Any]) -> Plan:
    return Plan(tuple(map(_step, values["steps"])), values["thought"], values["framed"], values["error"])


def _step(values: Mapping[str, Any]) -> PlanStep:
    known = {f.name: values[f.name] for f in fields(PlanStep)}
    return PlanStep(**{**known, "action": None if values["action"] is None else _action(values["action"])})


def _action(values: Mapping[str, Any]) -> Action:
    known = {f.name: values[f.name] for f in fields(Action) if f.name in values}
    return Action(**{name: tuple(value) if name in ("point", "end_point") else value for name, value in known.items()})
