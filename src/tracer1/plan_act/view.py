"""What a run of episodes shows: on a terminal a redrawn table of the episodes under way, elsewhere plain lines, and a table at the end.

It knows nothing about how episodes are played.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tracer1.interfaces import Observation
from tracer1.plan_act.episode import FAULT, Episode, Job, Result, Turn
from tracer1.schema import Action, PlanStep

log = logging.getLogger(__name__)

PLANNED = 4  # steps of a plan that are shown
MOST_ROWS = 12  # of episodes under way


class EpisodeView:
    """A watcher that shows.

    Args:
        total: Jobs.
        screenshot: (episode, turn's number) -> where its screenshot lies.
        console: Where to draw; stderr by default, so that stdout stays a program's result.
    """

    def __init__(self, total: int, screenshot: Callable[[Episode, int], Path], console: Console | None = None) -> None:
        self.total, self._screenshot = total, screenshot
        self.console = console or Console(stderr=True)
        self.ended_jobs: dict[int, float | None] = {}  # number -> score
        self._rows: dict[int, list[str]] = {}  # of the episodes under way: number -> cells
        self._live: Live | None = None
        self._moved: list[tuple[logging.StreamHandler, Any]] = []

    def __enter__(self) -> "EpisodeView":
        """Begins to draw where something can be redrawn."""
        if self.console.is_terminal:
            streams = (sys.stdout, sys.stderr)
            self._live = Live(console=self.console, get_renderable=self._table, refresh_per_second=8)
            self._live.start()
            for handler in logging.getLogger().handlers:  # they hold the old streams and would write across the table
                if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
                    self._moved.append((handler, handler.stream))
                    handler.setStream(sys.stdout if handler.stream is streams[0] else sys.stderr)
        return self

    def __exit__(self, *error: object) -> None:
        """Gives the screen back."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
            for handler, stream in self._moved:
                handler.setStream(stream)
            self._moved = []

    def looked(self, episode: Episode, number: int, seen: Observation) -> None:
        """Shows the screenshot's path."""
        row = self._rows.setdefault(episode.number, ["", "", "", "", ""])
        row[0], row[1] = str(episode.job), f"{number}"
        row[2] = str(self._screenshot(episode, number))
        if number == 1 and self._live is None:
            log.info("%s: %s", episode.job, episode.instruction)

    def turned(self, episode: Episode, turn: Turn) -> None:
        """Shows plan and action."""
        plan, action = plan_text(turn.tries[-1].rollout.plan.steps), turn_text(turn)
        row = self._rows.setdefault(episode.number, ["", "", "", "", ""])
        row[3], row[4] = plan, action
        if self._live is None:
            path = self._screenshot(episode, turn.number)
            log.info("%s, step %d: %s | plan: %s | %s", episode.job, turn.number, action, plan, path)

    def ended(self, episode: Episode) -> None:
        """Takes the episode off the table of those under way."""
        self._rows.pop(episode.number, None)
        self.ended_jobs[episode.number] = episode.score
        if self._live is None or episode.end == FAULT:
            what = f"score {episode.score:g}" if episode.score is not None else episode.fault
            log.info("%s: %s after %d steps, %s", episode.job, episode.end, episode.steps, what)

    def _table(self) -> Table:
        scores = [score for score in self.ended_jobs.values() if score is not None]
        mean = f", mean score {sum(scores) / len(scores):.2f}" if scores else ""
        table = Table(title=f"{len(self.ended_jobs)} of {self.total} episodes{mean}", title_justify="left", expand=True)
        for name in ("episode", "step", "screenshot", "last plan", "last action"):
            table.add_column(name, overflow="fold")
        for number in sorted(self._rows)[:MOST_ROWS]:
            table.add_row(*(Text(cell) for cell in self._rows[number]))
        return table


def action_text(action: Action) -> str:
    """`click (512, 133)`, `type 'hello'`, `ocr image_path='a.png'`: the action with what it needs, short."""
    words = [action.action_type]
    for point in (action.point, action.end_point):
        if point is not None:
            words.append(f"({point[0]:g}, {point[1]:g})")
    words += [text for text in (action.key, action.direction, action.app_name) if text]
    if action.content is not None:
        words.append(f"{action.content!r:.60}")
    words += [f"{name}={value!r:.60}" for name, value in (action.arguments or {}).items()]
    if action.code is not None:
        words.append(f"{action.code!r:.60}")
    return " ".join(words)


def plan_text(steps: Sequence[PlanStep]) -> str:
    """The first steps of a plan in a line."""
    names = ["?" if step.action is None else action_text(step.action) for step in steps[:PLANNED]]
    more = len(steps) - PLANNED
    return " → ".join(names) + (f" and {more} more" if more > 0 else "") if names else "no plan"


def turn_text(turn: Turn) -> str:
    """What was done in a turn, or why nothing was."""
    again = f" (at attempt {len(turn.tries)})" if len(turn.tries) > 1 else ""
    if turn.action is None:
        return f"nothing{again}: {turn.tries[-1].error}"
    return action_text(turn.action) + again


def show_results(results: Sequence[Result], notes: Sequence[str], console: Console | None = None) -> None:
    """The table at the end, on stdout.

    Args:
        results: Of all jobs, in order.
        notes: Lines to copy below it, never wrapped.
        console: Where to write; stdout by default.
    """
    console = console or Console()
    table = Table()
    for name, side in (("task", "left"), ("seed", "right"), ("score", "right"), ("steps", "right"), ("end", "left")):
        table.add_column(name, justify=side, overflow="fold")
    for result in results:
        seed = _seed(result.job)
        score = "-" if result.score is None else f"{result.score:g}"
        table.add_row(*(Text(cell) for cell in (result.job.task, seed, score, str(result.steps), _end(result))))
    console.print(table)
    console.print(summary(results))
    for note in notes:
        console.print(Text(note), soft_wrap=True)


def summary(results: Sequence[Result]) -> str:
    """Means over all jobs that have a verdict; faults are counted beside them, never as 0."""
    scores = [result.score for result in results if result.score is not None]
    mean = f"mean score {sum(scores) / len(scores):.3f} of {len(scores)}" if scores else "no score"
    faults = len(results) - len(scores)
    more = [f"{sum(r.retried for r in results)} plans sampled again", f"{sum(r.lost for r in results)} steps lost"]
    return ", ".join([mean, *more, f"{faults} fault{'s' * (faults != 1)}"])


def _seed(job: Job) -> str:
    return f"{job.seed}" + (f"/{job.sample}" if job.sample else "")


def _end(result: Result) -> str:
    lost = f", {result.lost} lost" if result.lost else ""
    return result.end + lost + (f": {result.fault}" if result.fault else "")
