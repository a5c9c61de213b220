"""What a training does when one of its processes is killed, is stopped or hangs: one line, in bounded time, and a code of its own.

Every rank is told of a loss over the lifeline. Where the backend raises an error (gloo), that error becomes the line; where it waits
for ever, or a stage goes on for long, the process ends itself. It knows Lightning's hooks, and nothing of what a stage does.
"""

import logging
import os
import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import lightning as L
import torch.distributed as dist
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver

from tracer1.training.checkpoints import how_to_go_on
from tracer1.training.entry import LOST, tell_launcher
from tracer1.training.lifeline import Lifeline, Loss, laggards
from tracer1.training.progress import ProgressReporter
from tracer1.training.ranks import end_others, gathered, rank, several, world_size

log = logging.getLogger(__name__)

KNOWN_S = 5.0  # after an error of the backend, until the line says who is gone
GRACE_S = 15.0  # after a loss, until the backend's error comes; then this process ends itself
ENDING_S = 60.0  # for telling MLflow, and for whatever else happens on the way out
_OF_THE_BACKEND = re.compile(r"gloo|NCCL|onnection (closed|reset|refused)|roken pipe|imed out|imeout")
_TOO_LATE = re.compile(r"imed out|imeout")
_OF_A_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)")


class RankWatch(L.Callback):
    """Watches the other ranks of a training from its setup to its end. With one process it does nothing.

    Args:
        folder: The run's, for the line that says how to go on.
        timeout_s: So long do ranks wait for each other.
        reporter: Hears every stage of this rank.
    """

    def __init__(self, folder: Path, timeout_s: float, reporter: ProgressReporter) -> None:
        self.folder, self.timeout_s, self.reporter = folder, timeout_s, reporter
        self.line: Lifeline | None = None
        self.lost = False  # whether this rank ends because of another one
        self._ending, self._over = threading.Event(), threading.Event()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """The ranks can talk from here on."""
        if not several():
            return
        self.trainer = trainer
        self.line = Lifeline(rank(), self.timeout_s, self._end_in_time)
        host = trainer.strategy.cluster_environment.main_address
        self.line.open(host, world_size(), lambda told: gathered(told)[0])
        self.reporter.said = self.line.say
        for thread in threading.enumerate():  # Lightning's own would kill rank 0 before it has said a word
            if isinstance(thread, _ChildProcessObserver):
                thread._child_processes = []

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """The training is done."""
        self._leave(None)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Comes before all else that happens on the way out: launchers kill a rank soon after another one."""
        if self.line is None:
            return
        self._ending.set()
        if isinstance(exception, RuntimeError) and of_the_backend(exception):
            self.line.known.wait(KNOWN_S)
            self._say_why(exception)
        self._leave(self._reason(exception))

    def _reason(self, exception: BaseException) -> str | None:
        """What the others are told; they have heard of a loss themselves."""
        if self.lost:
            return None if self.line.loss is not None else "its patience: it has waited too long"
        if isinstance(exception, SystemExit | KeyboardInterrupt):
            return None
        return f"{type(exception).__name__}: {' '.join(str(exception).split())[:300]}"

    def _leave(self, reason: str | None) -> None:
        if self.line is not None:
            self.line.leave(reason)
            self.reporter.said = None

    def over(self) -> None:
        """Nothing can hang any more."""
        self._over.set()

    def _say_why(self, error: RuntimeError) -> None:
        self.lost = True
        tell_launcher(LOST)  # now: a launcher's SIGTERM ends this process as soon as Lightning no longer listens to it
        loss, late = self.line.loss, laggards(self.line.signs)
        if loss is not None:
            self._say(str(loss), gone=loss.rank)
        elif late and _TOO_LATE.search(str(error)):
            who = ", ".join(
                f"rank {other} ({sign.doing}{', silent' if sign.silent else ''})" for other, sign in late.items()
            )
            self._say(f"The ranks have waited {self.timeout_s:g} s (ranks.timeout_s) for {who}", gone=min(late))
        else:
            self._say(f"The ranks have lost each other: {' '.join(str(error).split())[:300]}", gone=-1)

    def _say(self, what: str, gone: int) -> None:
        """Said once: by rank 0, or by its neighbour when rank 0 itself is gone."""
        if rank() == (1 if gone == 0 else 0):
            self.reporter.stop()
            log.error("%s. %s", what, how_to_go_on(self.folder))

    def _end_in_time(self, loss: Loss) -> None:
        """In the line's thread. NCCL waits for ever, and a stage may go on for an hour without asking for the others."""
        if not self._ending.wait(GRACE_S):
            self._say(str(loss), gone=loss.rank)
        elif self._over.wait(ENDING_S):
            return
        tell_launcher(LOST)
        end_others(self.trainer)
        logging.shutdown()
        os._exit(LOST)


def of_the_backend(error: RuntimeError) -> bool:
    """Whether the ranks could not talk; anything else that went wrong has a traceback of its own."""
    return isinstance(error, dist.DistError) or bool(_OF_THE_BACKEND.search(str(error)))


def leave_if_lost(trainer: L.Trainer, error: BaseException, folder: Path) -> None:
    """Ends this process with `LOST` when a training broke off because another process of it is gone; the line has been said.

    Raises:
        SystemExit: with `LOST`.
    """
    for watch in trainer.callbacks:
        if isinstance(watch, RankWatch):
            watch.over()
            if watch.lost:
                _leave(error)
    if isinstance(error, RuntimeError) and (worker := _OF_A_WORKER.search(str(error))):
        log.error(
            "A process that reads ahead (pid %s) was killed; where memory ran out, fewer of them help (…num_workers, "
            "warmstart.workers). %s",
            worker[1],
            how_to_go_on(folder),
        )
        _leave(error)


def _leave(error: BaseException) -> NoReturn:
    log.debug("What the library said:", exc_info=error)
    raise SystemExit(LOST) from None


def with_timeout(trainer: L.Trainer, timeout_s: float) -> L.Trainer:
    """The trainer, whose ranks wait so long for each other. To a strategy that is a name Lightning lets nobody tell it."""
    if isinstance(trainer.strategy, L.pytorch.strategies.ParallelStrategy):
        trainer.strategy._timeout = timedelta(seconds=timeout_s)
    return trainer
