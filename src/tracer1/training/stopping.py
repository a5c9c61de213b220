"""Stopping between two rounds so that the same command goes on: on a signal, or before the time is up.

It knows signals, clocks and checkpoints, and nothing of the scheduler that runs the command again.

SIGTERM and SIGUSR1 ask for a stop. The round under way is finished, validated and saved; then every process leaves with code
`REQUEUE`. Whoever sent the signal may kill them before that: the round is repeated from the last checkpoint. Lightning's own
answers to these signals are replaced: they talk to the other ranks in the middle of whatever those are doing.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import lightning as L

from tracer1.training.entry import REQUEUE, STOP_SIGNALS
from tracer1.training.ranks import gathered

log = logging.getLogger(__name__)

STARTED = time.time()  # of this process, to within its imports


class Saver(Protocol):
    """What writes checkpoints (`KeepCheckpoints`)."""

    folder: Path

    def save(self, trainer: L.Trainer, done: int) -> None:
        """Writes that of round `done`, unless it just did; every rank calls it."""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """When a run must be over.

    Args:
        max_hours: From the start of this process; None for no limit.
        before_s: What must be left of the time when the last round has been saved.
    """

    max_hours: float | None = None
    before_s: float = 300.0

    def deadline(self, environment: Mapping[str, str] = os.environ, started: float = STARTED) -> float | None:
        """Seconds since 1970 at which no round may be under way: what the config or SLURM says, whichever is earlier."""
        ends = [started + self.max_hours * 3600] if self.max_hours is not None else []
        if environment.get("SLURM_JOB_END_TIME", "").isdigit():
            ends.append(float(environment["SLURM_JOB_END_TIME"]))
        return min(ends) - self.before_s if ends else None


def stoppable(
    callbacks: Sequence[L.Callback], saver: Saver, limit: TimeLimit, clock: Callable[[], float] = time.time
) -> list[L.Callback]:
    """The callbacks of a training with those that end it early: one listens before all others, one leaves after all others."""
    signals = StopSignals()
    return [signals, *callbacks, StopBetweenRounds(signals, saver, limit, clock)]


class StopSignals(L.Callback):
    """Takes note of the signals that ask for a stop. Lightning puts the former handlers back when a fit is over, however it ends."""

    def __init__(self) -> None:
        self.received: str | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """In place of Lightning's handlers, its SLURM auto-requeue included, which were registered just before."""
        for signum in STOP_SIGNALS:
            signal.signal(signum, self._note)

    def _note(self, signum: int, frame: object) -> None:
        """Nothing else: a handler may run anywhere, a collective included."""
        self.received = signal.Signals(signum).name


class StopBetweenRounds(L.Callback):
    """Ends a training after a round when any rank was asked to, or when another round would not be done in time."""

    def __init__(self, signals: StopSignals, saver: Saver, limit: TimeLimit, clock: Callable[[], float]) -> None:
        self.signals, self.saver, self.clock = signals, saver, clock
        self.deadline = limit.deadline()
        self.began, self.longest = 0.0, 0.0  # of a round, in seconds, its validation and checkpoint included

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A round begins."""
        self.began = self.clock()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises SystemExit on all ranks or on none.

        Raises:
            SystemExit: with `REQUEUE`; the checkpoint is whole and MLflow has been told.
        """
        done, now = trainer.current_epoch + 1, self.clock()
        self.longest = max(self.longest, now - self.began)
        reasons = [reason for reason in gathered(self._reason(now)) if reason]
        if not reasons or done == trainer.max_epochs:  # what is left to do is the export
            return
        self.saver.save(trainer, done)
        if trainer.logger is not None:
            trainer.logger.finalize("interrupted")  # before any rank leaves: schedulers kill the others then
        trainer.strategy.barrier("stop")
        if trainer.is_global_zero:
            log.warning(
                "Stopped after round %d of %s: %s. The same command goes on from %s with ckpt_path=auto.",
                done,
                trainer.max_epochs,
                reasons[0],
                self.saver.folder,
            )
        raise SystemExit(REQUEUE)

    def _reason(self, now: float) -> str | None:
        if self.signals.received is not None:
            return self.signals.received
        if self.deadline is not None and now + self.longest > self.deadline:
            return f"a round takes {self.longest:.0f} s, and {max(0.0, self.deadline - now):.0f} s are left"
        return None
