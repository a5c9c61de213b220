"""Runs `train.py` and `eval.py` as a user would, each in a fresh process that need not import the heavy libraries again.

They are forked from a server process that has imported those and has done nothing else (`multiprocessing`'s forkserver), so no state of
one command reaches another. Who is asked to stop passes that on to the command, and a command whose caller is gone is asked, too. It
knows nothing of what the commands do.
"""

import atexit
import multiprocessing
import os
import runpy
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, reduction, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tracer1.errors import Tracer1Error
from tracer1.training.entry import INTERRUPTED, REQUEUE, STOP_SIGNALS

ROOT = Path(__file__).resolve().parents[3]
# Only what others have written: of two checkouts in one environment the server could import the wrong one
_PRELOADED = ("torch", "lightning", "transformers.models.qwen3_vl.modeling_qwen3_vl", "mlflow", "hydra", "torchmetrics")


class CommandFailed(Tracer1Error):
    """A command ended with an error, which it has told already."""


class Held:
    """An open file that a command gets, too: what is locked stays locked until both have ended, whoever is killed first.

    Args:
        descriptor: Of the file.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], "Held"], tuple[Any]]:
        return _held_there, (reduction.DupFd(self.descriptor),)


def _held_there(descriptor: Any) -> Held:
    return Held(descriptor.detach())


def call(script: str, overrides: Sequence[str], held: Held | None = None) -> None:
    """Runs an entry point to its end.

    Args:
        script: `train.py` or `eval.py`.
        overrides: Of its config.
        held: What it keeps open until its end.

    Raises:
        CommandFailed: it ended with another code than 0.
        KeyboardInterrupt: Ctrl-C, after the command has ended: it writes its checkpoint first.
        SystemExit: with `REQUEUE`: it, or this process, was asked to stop, or a time limit has come; likewise.
    """
    path = ROOT / "src" / "tracer1" / script
    sys.stderr.write(f"$ {shlex.join([sys.executable, str(path), *overrides])}\n")
    sys.stderr.flush()
    context = _forkserver()
    begun = context.Event()
    process = context.Process(target=become, args=(begun, str(path), list(overrides), held))
    try:
        with _passed_on(lambda: process.pid) as asked:
            process.start()
            if asked:  # when there was nobody to pass it on to
                process.terminate()
            process.join()
    except KeyboardInterrupt:
        if process.pid is None:  # the server is still importing, and would run what nobody waits for
            os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
            raise
        if not begun.is_set():
            process.terminate()
        process.join()
        raise
    if process.exitcode == INTERRUPTED:
        raise KeyboardInterrupt
    if process.exitcode == REQUEUE or (asked and process.exitcode in (0, *(-signum for signum in STOP_SIGNALS))):
        raise SystemExit(_stopped())
    if process.exitcode:
        raise CommandFailed(
            f"{script} ended with code {process.exitcode}; run the same command again to go on from its last checkpoint."
        )


@contextmanager
def _passed_on(pid: Callable[[], int | None]) -> Iterator[list[int]]:
    """Signals that ask for a stop go to another process, which leaves between two rounds.

    Args:
        pid: Of it; None where there is none yet.

    Yields:
        The signals that have come so far.
    """
    asked: list[int] = []

    def pass_on(signum: int, frame: object) -> None:
        asked.append(signum)
        with suppress(ProcessLookupError):  # it has just ended
            if (there := pid()) is not None:
                os.kill(there, signum)

    with _handled(pass_on):
        yield asked


@contextmanager
def leaving_when_asked() -> Iterator[None]:
    """Signals that ask for a stop end what is between two commands, a wait included, with `REQUEUE`; commands leave by themselves."""

    def leave(signum: int, frame: object) -> None:
        raise SystemExit(_stopped())

    with _handled(leave):
        yield


def _stopped() -> int:
    sys.stderr.write("Stopped. Run the same command again: it goes on where it was.\n")
    return REQUEUE


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    former = {signum: signal.signal(signum, handler) for signum in STOP_SIGNALS}
    try:
        yield
    finally:
        for signum, before in former.items():
            signal.signal(signum, before)


def _forkserver() -> Any:
    """The server, deaf from its first instruction on to what a terminal or a scheduler sends to the whole group.

    Interrupted among its imports it would answer with a traceback, and without it nobody learns how a command has ended.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which what is started inherits, like the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        resource_tracker.ensure_running()  # unblocks SIGTERM when it has begun
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, heard)
    return context


def become(begun: Any, path: str, overrides: list[str], held: Held | None) -> None:
    """What the new process does: it is `python PATH OVERRIDES` from here on, and hears Ctrl-C again.

    Args:
        begun: An event, set when an interrupt is the command's own affair.
        path: The script.
        overrides: Its arguments.
        held: What stays open while it runs.
    """
    threading.Thread(target=_stop_without, args=(multiprocessing.parent_process().sentinel,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    begun.set()
    sys.argv = [path, *overrides]
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # as a program does, and `multiprocessing` does not


def _stop_without(caller: int) -> None:
    """Asks this process to stop when its caller is gone, which the kernel says at this descriptor: nobody would wait for it."""
    wait([caller])
    os.kill(os.getpid(), signal.SIGTERM)
