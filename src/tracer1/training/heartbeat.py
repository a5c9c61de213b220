"""A training's signs of life: a small file that is touched at every stage, and how old the last one is.

Probes and health checks read it (`tools/health.py`). It knows nothing of what a stage does, and loads no torch.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from tracer1.errors import DataError

log = logging.getLogger(__name__)

NAME = "heartbeat"
EVERY_S = 5.0  # at most so often: the folder may be on a network


class Heartbeat:
    """Writes what a training is doing to `folder/heartbeat`.

    Args:
        folder: The run's.
        clock: Seconds that only grow.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self.clock = folder / NAME, clock
        self.said: float | None = None

    def __call__(self, stage: str) -> None:
        """Says that `stage` goes on. A disk that does not take it is no reason to stop."""
        now = self.clock()
        if self.said is not None and now - self.said < EVERY_S:
            return
        self.said = now
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(f"{stage}\n", encoding="utf-8")
        except OSError as error:
            log.warning("Could not write %s (%s): a health check may take this training for dead.", self.path, error)


def last_sign(folder: Path, now: float | None = None) -> tuple[str, float]:
    """What the run in `folder`, or the liveliest of the runs in it, did last, and how many seconds ago.

    Raises:
        DataError: no run there has ever given a sign.
    """
    signs = [path for path in (folder / NAME, *folder.glob(f"*/{NAME}")) if path.is_file()]
    if not signs:
        raise DataError(f"{folder} holds no sign of life of a run ({NAME}). Has a training begun there?")
    newest = max(signs, key=lambda path: path.stat().st_mtime)
    age = (time.time() if now is None else now) - newest.stat().st_mtime
    return f"{newest.parent.name}: {newest.read_text(encoding='utf-8').strip()}", max(0.0, age)
