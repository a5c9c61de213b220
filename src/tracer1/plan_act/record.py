"""The file of a run's episodes, written while they are played. It knows nothing about who plays.

`episodes.jsonl` holds JSON objects in ASCII, one to a line, of four kinds, and `screens-<time>/` beside it the screenshots:

    {"kind": "run", "version": 1, "screens": "screens-...", "settings": {...}}              the first line
    {"kind": "turn", "episode": 0, "attempt": 0, "turn": 1, ...}                            as soon as a turn is over
    {"kind": "fault", "episode": 0, "attempt": 0, "turn": 2, "error": "...", ...}           the turn in which it failed, as far as it came
    {"kind": "end", "episode": 0, "attempt": 0, "end": "done", "score": 1.0, ...}           as soon as an attempt is over

Lines of episodes that are played side by side are mixed. An attempt without an `end` was cut off. Of an episode's attempts the last one
counts; the others met a fault. `reading.py` reads it.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from tracer1.errors import DataError
from tracer1.interfaces import Observation
from tracer1.plan_act.episode import Episode, Try, Turn
from tracer1.schema import Action, Plan, PlanStep

FILE = "episodes.jsonl"
VERSION = 1


class EpisodeRecord:
    """A watcher that writes. What lies in the folder from an earlier run is kept under another name.

    Args:
        folder: Where.
        settings: Of the run, for whoever reads it: the environment's name, the planner, ...

    Raises:
        DataError: it cannot be written; also from its methods.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        self.path, self._screens = folder / FILE, f"screens-{stamp}"
        self.turns = self.episodes = 0  # written so far
        self._lock = threading.Lock()
        try:
            (folder / self._screens).mkdir(parents=True)
            if self.path.exists():
                os.replace(self.path, self.path.with_name(f"episodes-{stamp}.jsonl"))
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        self._write(
            {"kind": "run", "version": VERSION, "screens": self._screens, "began": stamp, "settings": dict(settings)}
        )

    def screenshot(self, episode: Episode, number: int) -> Path:
        """Where the screenshot of that turn lies; the one after the last turn has the next number."""
        return self.path.parent / self._screenshot(episode, number)

    def looked(self, episode: Episode, number: int, seen: Observation) -> None:
        """Writes the screenshot."""
        try:
            self.screenshot(episode, number).write_bytes(seen.screenshot)
        except OSError as error:
            raise self._unwritable(error) from error

    def turned(self, episode: Episode, turn: Turn) -> None:
        """Writes a turn's line."""
        self.turns += 1
        self._write({"kind": "turn", **self._turn(episode, turn)})

    def ended(self, episode: Episode) -> None:
        """Writes the closing line and the last screenshot; before them, the turn in which environment or executor failed."""
        self.episodes += 1
        if episode.broken is not None:
            self._write({"kind": "fault", **self._turn(episode, episode.broken), "error": episode.fault})
        last = None
        if episode.last is not None:
            number = len(episode.turns) + 1
            self.looked(episode, number, episode.last)
            last = self._screenshot(episode, number)
        self._write(
            {
                "kind": "end",
                **_place(episode),
                "instruction": episode.instruction,
                "end": episode.end,
                "score": episode.score,
                "steps": episode.steps,
                "lost": episode.lost,
                "fault": episode.fault,
                "screenshot": last,
                "shown": episode.last is not None and episode.last.shown,
                "seconds": _seconds(episode.time),
            }
        )

    def _turn(self, episode: Episode, turn: Turn) -> dict[str, Any]:
        return {
            **_place(episode),
            "turn": turn.number,
            "instruction": episode.instruction,
            "screenshot": self._screenshot(episode, turn.number),
            "shown": turn.step.screenshot is not None,
            "text": turn.text,
            "executed_before": turn.step.index,
            "tries": [_try(one) for one in turn.tries],
            "action": None if turn.action is None else _action(turn.action),
            "ended": turn.ended,
            "seconds": {
                "observe": _seconds(turn.observed),
                "plan": round(sum(_seconds(one.planned) for one in turn.tries), 4),
                "execute": round(sum(_seconds(one.executed) for one in turn.tries) + _seconds(turn.acted), 4),
            },
        }

    def close(self) -> None:
        """Closes the file; what was written stays. Later calls write nothing."""
        with self._lock:
            self._file.close()

    def _screenshot(self, episode: Episode, number: int) -> str:
        kind = "jpg" if episode.last is not None and episode.last.screenshot[:2] == b"\xff\xd8" else "png"
        return f"{self._screens}/{episode.number:04d}-{episode.attempt}-{number:03d}.{kind}"

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write(json.dumps(line, default=repr).encode() + b"\n")
            except OSError as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"{self.path} cannot be written: {error.strerror or error}. Free some space or choose another paths.outputs."
        )


def _place(episode: Episode) -> dict[str, Any]:
    job = episode.job
    return {
        "episode": episode.number,
        "attempt": episode.attempt,
        "task": job.task,
        "seed": job.seed,
        "sample": job.sample,
    }


def _try(one: Try) -> dict[str, Any]:
    rollout = one.rollout
    kind = rollout.outcome.kind if rollout.outcome is not None else ""
    said = {"response": rollout.response.text, "truncated": rollout.response.truncated}
    return {**said, "plan": _plan(rollout.plan), "error": one.error, "error_kind": kind}


def _plan(plan: Plan) -> dict[str, Any]:
    steps = [_step(step) for step in plan.steps]
    return {"thought": plan.thought, "framed": plan.framed, "error": plan.error, "steps": steps}


def _step(step: PlanStep) -> dict[str, Any]:
    known = {f.name: getattr(step, f.name) for f in fields(step)}
    return {**known, "action": None if step.action is None else _action(step.action)}


def _action(action: Action) -> dict[str, Any]:
    """All that is set, with all its digits: a replay must click where the episode did."""
    return {f.name: value for f in fields(action) if (value := getattr(action, f.name)) is not None}


def _seconds(span: tuple[int, int] | None) -> float:
    return 0.0 if span is None else round((span[1] - span[0]) / 1e9, 4)
