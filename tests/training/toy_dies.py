"""A plugin under which processes of a training die, are stopped or fall asleep: `TOY_DIES="RANK ROUND STAGE SIGKILL|SIGSTOP|SECONDS;…"`.

It happens once that process has said that it enters the stage. A process that is stopped is woken by nobody. With `worker 0 INDEX …`
it is the data worker of a warm start that makes this batch.
"""

import os
import signal
import time

from tracer1.training.progress import ProgressReporter
from tracer1.training.warmstart import ExampleBatches

_stage, _make = ProgressReporter.stage, ExampleBatches.make


def befalls(*where: str) -> None:
    """Whatever is to happen to this process there."""
    for fault in filter(None, os.environ.get("TOY_DIES", "").split(";")):
        *place, how = fault.split()
        if place == [*where] and how.startswith("SIG"):
            time.sleep(0.2)  # the last sign is on its way
            os.kill(os.getpid(), getattr(signal, how))
        elif place == [*where]:
            time.sleep(float(how))


def stage(self: ProgressReporter, name: str, *args: object, **figures: object) -> None:
    _stage(self, name, *args, **figures)
    if not figures.get("waiting"):
        rank = next((os.environ[n] for n in ("RANK", "LOCAL_RANK") if n in os.environ), "0")
        befalls(rank, str(self._round), name)


def make(self: ExampleBatches, steps: object, index: int) -> object:
    befalls("worker", "0", str(index))
    return _make(self, steps, index)


ProgressReporter.stage, ExampleBatches.make = stage, make
