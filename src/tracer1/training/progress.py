"""What a training shows while it runs: round, stage, speed, reward, time left. It knows nothing about how a round is done.

On a terminal one line is redrawn at the bottom and log messages scroll above it; anywhere else (a cluster's log file, CI)
a plain line is logged now and then, without control characters.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

from tracer1.training.duration import duration

log = logging.getLogger(__name__)

ROUNDS_AVERAGED = 10  # for the time left: recent rounds tell more, responses grow longer during a training


class ProgressReporter:
    """The state of a training and how it is shown. Rounds count from 1.

    Args:
        console: Where to draw; stderr by default, so that stdout stays a program's result.
        plain_every_s: Seconds between two lines where nothing can be redrawn.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        console: Console | None = None,
        plain_every_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or Console(stderr=True)
        self._plain_every_s, self._clock = plain_every_s, clock
        self.enabled = True
        self.heard: Callable[[str], None] | None = None  # told of every stage
        self.said: Callable[[str, bool], None] | None = None  # likewise, on every rank, and whether it waits for others
        self.total_rounds: int | None = None
        self._round = 0
        self._finished = 0  # rounds
        self._stage, self._done, self._of = "starting", None, None
        self._figures: dict[str, float] = {}
        self._seconds: deque[float] = deque(maxlen=ROUNDS_AVERAGED)
        self._round_began: float | None = None
        self._said_at: float | None = None
        self._live: Live | None = None
        self._moved: list[tuple[logging.StreamHandler, Any]] = []

    def start(self, total_rounds: int | None, finished: int = 0) -> None:
        """Begins to show a training of `total_rounds` (None: unknown), `finished` of which a checkpoint already has."""
        self.total_rounds, self._finished = total_rounds, finished
        self._show()

    def __enter__(self) -> "ProgressReporter":
        """Begins to show work that has no rounds."""
        self.start(None)
        return self

    def __exit__(self, *error: object) -> None:
        """Gives the screen back, whatever happened."""
        self.stop()

    def round_start(self, round: int) -> None:
        """Says that a round begins."""
        self._round, self._round_began = round, self._clock()
        self.stage("starting")

    def stage(
        self, name: str, done: int | None = None, total: int | None = None, *, waiting: bool = False, **figures: float
    ) -> None:
        """Says what is going on.

        Args:
            name: `generating`, `scoring`, `updating`, `validating`, …
            done: How much of the stage is done, of `total`.
            total: How much there is to do.
            waiting: Whether this process has done its share and waits for the others.
            **figures: `tokens_per_s`, `reward`, or any other number worth a look; each stays until it is replaced.
        """
        self._stage, self._done, self._of = name, done, total
        self._figures.update(figures)
        if self.said is not None:
            self.said(f"round {self._round}, {name}" if self._round else name, waiting)
        if self.heard is not None and self.enabled:
            self.heard(self.line())
        self._show()

    def round_end(self, round: int, metrics: Mapping[str, Any]) -> None:
        """Says that a round is over; its reward and speed are taken from `metrics` by their logged names."""
        if self._round_began is not None:
            self._seconds.append(self._clock() - self._round_began)
        self._round, self._finished, self._round_began = round, round, None
        for name, shown in (("reward/total", "reward"), ("rollout/tokens_per_s", "tokens_per_s")):
            if name in metrics:
                self._figures[shown] = float(metrics[name])
        self._stage, self._done, self._of = "done", None, None
        self._show(always=round == self.total_rounds or len(self._seconds) == 1)

    def stop(self) -> None:
        """Leaves the last state on the screen and gives it back."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
            for handler, stream in self._moved:
                handler.setStream(stream)
            self._moved = []

    def seconds_left(self) -> float | None:
        """From the mean of the last rounds; None before the first one is over or where the number of rounds is unknown."""
        if self.total_rounds is None or not self._seconds:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        begun = 0.0 if self._round_began is None else min(self._clock() - self._round_began, mean)
        return max(0.0, mean * (self.total_rounds - self._finished) - begun)

    def line(self) -> str:
        """The state as plain text."""
        return "  ".join(part for part in (self._round_text(), self._stage_text(), *self._figure_texts()) if part)

    def _show(self, always: bool = False) -> None:
        if not self.enabled:
            return
        if self.console.is_terminal:
            if self._live is None:
                self._start_live()
            return
        now = self._clock()
        if always or self._said_at is None or now - self._said_at >= self._plain_every_s:
            self._said_at = now
            log.info("%s", self.line())

    def _start_live(self) -> None:
        streams = (sys.stdout, sys.stderr)
        self._live = Live(console=self.console, get_renderable=self._render, refresh_per_second=4)
        self._live.start()
        for handler in logging.getLogger().handlers:  # they hold the old streams and would write across the line
            if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
                self._moved.append((handler, handler.stream))
                handler.setStream(sys.stdout if handler.stream is streams[0] else sys.stderr)

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 2), expand=True)
        bar = Bar(total=self.total_rounds, completed=self._finished)
        cells = [Text(self._round_text(), style="bold"), bar, Text(self._stage_text(), style="cyan")]
        for cell in cells:
            table.add_column(ratio=1 if cell is bar else None, no_wrap=True)
        for text in self._figure_texts():
            table.add_column(no_wrap=True)
            cells.append(Text(text))
        table.add_row(*cells)
        return table

    def _round_text(self) -> str:
        of = "" if self.total_rounds is None else f"/{self.total_rounds}"
        return f"round {self._round}{of}" if self._round else ""

    def _stage_text(self) -> str:
        if self._done is None:
            return self._stage
        return f"{self._stage} {self._done}" + ("" if self._of is None else f"/{self._of}")

    def _figure_texts(self) -> list[str]:
        figures = dict(self._figures)
        speed, reward, left = figures.pop("tokens_per_s", None), figures.pop("reward", None), self.seconds_left()
        texts = [] if speed is None else [f"{speed:,.0f} tokens/s"]
        texts += [] if reward is None else [f"reward {reward:.3f}"]
        texts += [f"{name} {value:.3g}" for name, value in figures.items()]
        return texts + ([] if left is None else [f"{duration(left)} left"])


class RoundProgress(ProgressBar):
    """Drives a `ProgressReporter` from Lightning: an epoch is a round. Only global rank 0 shows anything.

    The loop that makes rollouts reports its stages to `reporter.stage`.

    Args:
        plain_every_s: Seconds between two lines where stderr is not a terminal.
    """

    def __init__(self, plain_every_s: float = 30.0) -> None:
        super().__init__()
        self.reporter = ProgressReporter(plain_every_s=plain_every_s)

    def disable(self) -> None:
        """Shows nothing from now on."""
        self.reporter.stop()
        self.reporter.enabled = False

    def enable(self) -> None:
        """Shows again."""
        self.reporter.enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Writes above the line (`self.print` of a module ends up here)."""
        self.reporter.console.print(*args, **kwargs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training begins, or goes on from a checkpoint."""
        total = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        self.reporter.start(total, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A round begins."""
        self.reporter.round_start(trainer.current_epoch + 1)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """A micro-batch is done; `args` are Lightning's outputs, batch and the batch's number."""
        self.reporter.stage("updating", args[2] + 1, _count(trainer.num_training_batches))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation begins, inside a training or on its own."""
        self.reporter.stage("validating")

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """A validation batch is done; `args` are Lightning's outputs, batch and the batch's number."""
        batches = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
        total = batches[0] if len(batches) == 1 else None
        self.reporter.stage("validating", args[2] + 1, _count(total))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A round is over."""
        self.reporter.round_end(trainer.current_epoch + 1, trainer.callback_metrics)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The training or validation is over."""
        self.reporter.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The training broke off: the message must not be drawn over."""
        self.reporter.stop()


class Says(Callback):
    """Reports, between two callbacks that are at the end of a round, what the second one does."""

    def __init__(self, reporter: ProgressReporter, stage: str) -> None:
        self.reporter, self.stage = reporter, stage

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A round is nearly over."""
        self.reporter.stage(self.stage)


def _count(batches: float | None) -> int | None:
    """Lightning says infinity for a stream without a length."""
    return None if batches is None or batches == float("inf") else int(batches)
