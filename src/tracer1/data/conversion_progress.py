"""Shows how far a conversion is: a bar on a terminal, a plain line now and then elsewhere. It knows nothing about shards."""

import os
import time
from collections.abc import MutableSequence, Sequence
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tracer1.interfaces import Unit

FIELDS = 3  # of each unit on the board: trajectories, steps, share read in millionths
MILLION = 1_000_000
LINE_EVERY_S = 30.0  # where no terminal is
LOOK_EVERY_S = 1.0
AHEAD = 1 << 24  # bytes that a reader may have read beyond its range

Board = MutableSequence[int]


class Ticker:
    """Writes one unit's place on the board, which other processes may read."""

    def __init__(self, board: Board, index: int, unit: Unit) -> None:
        self.board, self.start, self.unit = board, index * FIELDS, unit
        self._looked = time.monotonic()

    def __call__(self, trajectories: int, steps: int) -> bool:
        """Notes the counts; true where the place was looked at, too, which is done once a second."""
        self.board[self.start], self.board[self.start + 1] = trajectories, steps
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return False
        self._looked = now
        self.board[self.start + 2] = int(MILLION * share_read(self.unit))
        return True

    def finish(self) -> None:
        """The unit has been read to its end."""
        self.board[self.start + 2] = MILLION


def share_read(unit: Unit) -> float:
    """How much of a unit this process has read, 0 to 1, by its place in the unit's open file; 0 where that says nothing."""
    import psutil

    try:
        files = psutil.Process().open_files()
        place = max((file.position for file in files if os.path.samefile(file.path, unit.path)), default=0)
        end = os.path.getsize(unit.path) if unit.end is None else unit.end
    except (OSError, psutil.Error, AttributeError):  # not every system says where a file is read
        return 0.0
    if place > end + AHEAD or end <= unit.start:  # the unit does not count in bytes
        return 0.0
    return min(1.0, max(0.0, (place - unit.start) / (end - unit.start)))


def weight(unit: Unit) -> int:
    """How long a unit is, in bytes or in what its converter counts in."""
    if unit.end is not None:
        return max(1, unit.end - unit.start)
    return max(1, os.path.getsize(unit.path)) if os.path.isfile(unit.path) else 1


class Display:
    """A bar or lines on a console, fed from the board. A context manager.

    Args:
        console: Where to, usually stderr.
        name: Of the data set.
        units: All of them, in order.
        board: `FIELDS` numbers for each unit.
    """

    def __init__(self, console: Console, name: str, units: Sequence[Unit], board: Board) -> None:
        self.console, self.name, self.board = console, name, board
        self.weights = [weight(unit) for unit in units]
        self.began = self._said = time.monotonic()
        self.first = self._numbers()  # what an earlier run had done is not counted as speed
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[text]}"), console=console, transient=True)
        self._task = self._bar.add_task(name, total=1.0, completed=self.first[2], text="")

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.console.is_terminal:
            self._bar.stop()

    def update(self) -> None:
        """Reads the board and shows it."""
        share, text = self._numbers()[2], self.text()
        if self.console.is_terminal:
            self._bar.update(self._task, completed=share, text=text)
        elif time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            self.console.print(f"{self.name}: {share:.0%}, {text}", highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """What is done now instead of reading units."""
        if self.console.is_terminal:
            self._bar.update(self._task, text=text)

    def text(self) -> str:
        """Counts, speed and the time left, e.g. `1,203 trajectories, 6,611 steps, 221 steps/s, 0:12:07 left`."""
        trajectories, steps, share = self._numbers()
        seconds = max(1e-9, time.monotonic() - self.began)
        text = f"{trajectories:,} trajectories, {steps:,} steps, {(steps - self.first[1]) / seconds:,.0f} steps/s"
        if share - self.first[2] < 1e-4 or share >= 1:
            return text
        left = int(seconds * (1 - share) / (share - self.first[2]))
        return f"{text}, {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"

    def _numbers(self) -> tuple[int, int, float]:
        board = list(self.board)
        share = sum(part * weight for part, weight in zip(board[2::FIELDS], self.weights, strict=True))
        return sum(board[::FIELDS]), sum(board[1::FIELDS]), share / (MILLION * sum(self.weights))
