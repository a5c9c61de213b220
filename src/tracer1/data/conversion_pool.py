"""Runs the units of a conversion, in this process or in several, and stops them together. It knows nothing about shards.

Workers are spawned: nothing of this process is copied. They look at a flag after each trajectory, ignore Ctrl-C (the main process
hears it and sets the flag), and leave when the main process is gone, so that none writes on after a `kill -9`.
"""

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

from tracer1.data.conversion_progress import FIELDS, Board, Display, Ticker
from tracer1.data.conversion_state import Folder
from tracer1.data.conversion_unit import Job, convert_unit
from tracer1.data.converters import CONVERTERS
from tracer1.data.shard_writer import file_sha256
from tracer1.errors import DataError

POLL_S = 0.2
HASHED_TOGETHER = 64  # files of one call: annotations may be thousands of small ones

_worker: dict[str, Any] = {}  # what a worker process was given


class _Stopped(Exception):
    """The main process wants this worker to end."""


class InProcess:
    """Runs everything here, one thing after the other."""

    def __init__(self, units: int) -> None:
        self.board: Board = [0] * (units * FIELDS)

    def convert(self, jobs: Sequence[Job], limit: int | None, display: Display) -> None:
        """Converts the units in order, with a limit until so many trajectories are written in all."""
        for job in jobs:
            if limit == 0:
                return
            ticker = Ticker(self.board, job.index, job.unit)
            state = convert_unit(
                replace(job, limit=limit),
                CONVERTERS.get(job.dataset),
                lambda trajectories, steps, ticker=ticker: ticker(trajectories, steps) and display.update(),
            )
            ticker.finish()
            limit = None if limit is None else limit - state.written

    def hash(self, paths: Sequence[str], display: Display) -> dict[str, str]:
        """The SHA-256 of each file."""
        return {path: file_sha256(Path(path)) for path in paths}


class Pool:
    """Runs units and checksums in worker processes. Use it as a context manager.

    Args:
        units: How many there are in all.
        workers: How many processes.
        out: The output folder, whose lock the workers hold.
        modules: Imported in the workers: what registers the converter.
    """

    def __init__(self, units: int, workers: int, out: Path, modules: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.board: Board = context.RawArray("q", units * FIELDS)
        self._stop = context.RawValue("b", 0)
        given = (self.board, self._stop, out, modules)
        self._executor = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=given)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.value = 1
        self._executor.shutdown(wait=True, cancel_futures=True)

    def convert(self, jobs: Sequence[Job], limit: int | None, display: Display) -> None:
        """Converts the units side by side, the longest first."""
        assert limit is None, "how many trajectories a unit may write depends on the units before it"
        order = sorted(jobs, key=lambda job: -display.weights[job.index])
        for _ in self._results(_convert, order, display):
            pass

    def hash(self, paths: Sequence[str], display: Display) -> dict[str, str]:
        """The SHA-256 of each file."""
        parts = [list(paths[i : i + HASHED_TOGETHER]) for i in range(0, len(paths), HASHED_TOGETHER)]
        return {path: digest for part in self._results(_hash, parts, display) for path, digest in part.items()}

    def _results(self, work: Callable[[Any], Any], items: Sequence[Any], display: Display) -> Iterator[Any]:
        try:
            with _sigint_blocked():  # a worker that has not begun yet would answer Ctrl-C with a traceback
                waiting: set[Future[Any]] = {self._executor.submit(work, item) for item in items}
            while waiting:
                done, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
                display.update()
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "A worker process was killed, perhaps because memory ran out. What is finished is kept: run the same command again, "
                "with fewer --workers if it happens again."
            ) from error


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Processes that are started in here never hear Ctrl-C; this one hears it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(board: Board, stop: Any, out: Path, modules: Sequence[str]) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    for module in modules:
        importlib.import_module(module)
    lock = contextlib.ExitStack()
    lock.enter_context(Folder(out).shared_lock())
    _worker.update(board=board, stop=stop, lock=lock)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _convert(job: Job) -> None:
    ticker = Ticker(_worker["board"], job.index, job.unit)

    def tick(trajectories: int, steps: int) -> None:
        if _worker["stop"].value:
            raise _Stopped
        ticker(trajectories, steps)

    convert_unit(job, CONVERTERS.get(job.dataset), tick)
    ticker.finish()


def _hash(paths: Sequence[str]) -> dict[str, str]:
    return {path: file_sha256(Path(path)) for path in paths}
