"""Plays recorded episodes again without a model: the same plans, the same actions. It says where what is seen is no longer the same."""

import io
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracer1.errors import DataError
from tracer1.interfaces import Observation
from tracer1.plan_act.episode import Episode, Job, Turn
from tracer1.plan_act.reading import RecordedEpisode, RecordedTry, RecordedTurn, Recording, read_record
from tracer1.schema import Action, Outcome, Plan, Response, Rollout, Step

log = logging.getLogger(__name__)

LEVELS, SHARE = (
    2,
    0.002,
)  # of 255, and of the pixels: a browser redraws only what changed, and its edge may be a level off


@dataclass(frozen=True, slots=True)
class Parting:
    """Where a replay and its record part first."""

    job: Job
    turn: int  # 1-based
    what: str

    def __str__(self) -> str:
        return f"{self.job}, turn {self.turn}: {self.what}"


class ReplayPlanner:
    """Planner, executor and watcher in one: `play_all(replay.jobs, environments, replay, replay, replay.rules(), [replay])`.

    Args:
        record: The file, or its folder.

    Attributes:
        jobs: What was played, in order.
        partings: The first one of each episode that went otherwise.

    Raises:
        DataError: no record there, or nothing in it.
    """

    def __init__(self, record: Path) -> None:
        self.recording: Recording = read_record(record)
        self._episodes: Mapping[Job, RecordedEpisode] = {one.job: one for one in self.recording.episodes}
        if not self._episodes:
            raise DataError(f"{self.recording.path} holds no episode.")
        self.jobs: Sequence[Job] = [one.job for one in self.recording.episodes]
        self.partings: list[Parting] = []

    def plan(self, step: Step, attempt: int) -> Rollout:
        """The recorded plan with its outcome; one that says so where nothing was recorded."""
        job = Job(*(step.meta[name] for name in ("task", "seed", "sample")))
        turn = self._turn(job, step.meta["turn"])
        if turn is None or attempt >= len(turn.tries):
            self._part(job, step.meta["turn"], "nothing more was recorded")
            return Rollout(step, Response("", (), ()), Plan(error="nothing more was recorded"))
        one = turn.tries[attempt]
        response = Response(one.response, (), (), one.truncated)
        return Rollout(step, response, one.plan, _outcome(one, turn.action))

    def serve(self, until: threading.Event, callers: Callable[[], int] | None = None) -> None:
        """Waits: plans come without work."""
        until.wait()

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """The recorded outcomes."""
        return [rollout.outcome for rollout in rollouts]

    def looked(self, episode: Episode, number: int, seen: Observation) -> None:
        """Compares the instruction, the screenshot, and what a tool said."""
        recorded = self._episodes.get(episode.job)
        turn = self._turn(episode.job, number)
        if recorded is not None and episode.instruction != recorded.instruction:
            self._part(episode.job, number, f"the instruction is now {episode.instruction!r:.120}")
        if turn is None:
            return
        try:
            before = turn.screenshot.read_bytes()
        except OSError as error:
            raise DataError(
                f"{turn.screenshot} cannot be read: {error.strerror}. Keep it beside its record."
            ) from error
        if (difference := _difference(before, seen.screenshot)) is not None:
            self._part(episode.job, number, f"{difference} ({turn.screenshot})")
        if seen.meta and seen.text != turn.text:  # elsewhere the text only stands beside the screenshot
            self._part(episode.job, number, f"what is said is now {seen.text!r:.120}")

    def turned(self, episode: Episode, turn: Turn) -> None:
        """Nothing: what is done is what was recorded."""

    def ended(self, episode: Episode) -> None:
        """Compares how it ended."""
        recorded = self._episodes.get(episode.job)
        if recorded is None or not recorded.end or episode.fault:
            return  # a record that was cut off, or met a fault, says nothing of its end
        now, then = (episode.end, episode.score), (recorded.end, recorded.score)
        if str(now) != str(then) and not recorded.fault:  # a score that nobody knows is NaN, which equals nothing
            self._part(
                episode.job, len(episode.turns), f"it ended {now[0]} with {now[1]}, before {then[0]} with {then[1]}"
            )

    def _turn(self, job: Job, number: int) -> RecordedTurn | None:
        turns = self._episodes[job].turns if job in self._episodes else ()
        return turns[number - 1] if number <= len(turns) else None

    def _part(self, job: Job, turn: int, what: str) -> None:
        if all(parting.job != job for parting in self.partings):
            self.partings.append(Parting(job, turn, what))
            log.warning("The replay parts from its record: %s", self.partings[-1])


def _outcome(one: RecordedTry, action: Action | None) -> Outcome:
    """What the executor said; of a turn's tries only the last one can have been acted upon."""
    return Outcome(error=one.error, kind=one.error_kind) if one.error else Outcome(action=action)


def _difference(before: bytes, now: bytes) -> str | None:
    """In words; None where two screenshots are the same but for rounding."""
    if before == now:
        return None
    from PIL import Image, ImageChops

    first, second = (Image.open(io.BytesIO(picture)).convert("RGB") for picture in (before, now))
    if first.size != second.size:
        return f"the screenshot is {second.width}x{second.height} pixels, was {first.width}x{first.height}"
    difference = ImageChops.difference(first, second)
    red, green, blue = difference.split()
    same = ImageChops.lighter(ImageChops.lighter(red, green), blue).histogram()[0]
    share = 1 - same / (first.width * first.height)
    if share <= SHARE and max(high for _, high in difference.getextrema()) <= LEVELS:
        return None
    return f"the screenshot differs in {share:.1%} of its pixels"
