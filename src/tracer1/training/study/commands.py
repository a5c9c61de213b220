"""Runs `train.py` and `eval.py` as a user would, each in a fresh process that need not import the heavy libraries again.

They are forked from a server process that has imported those and has done nothing else (`multiprocessing`'s forkserver), so no state of
one command reaches another. It knows nothing of what the commands do.
"""

import multiprocessing
import os
import runpy
import shlex
import signal
import sys
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from tracer1.errors import Tracer1Error

ROOT = Path(__file__).resolve().parents[4]
INTERRUPTED = 130
# Only what others have written: of two checkouts in one environment the server could import the wrong one
_PRELOADED = ("torch", "lightning", "transformers.models.qwen3_vl.modeling_qwen3_vl", "mlflow", "hydra", "torchmetrics")


class CommandFailed(Tracer1Error):
    """A command of a study ended with an error, which it has told already."""


def call(script: str, overrides: Sequence[str]) -> None:
    """Runs an entry point to its end.

    Args:
        script: `train.py` or `eval.py`.
        overrides: Of its config.

    Raises:
        CommandFailed: it ended with another code than 0.
        KeyboardInterrupt: Ctrl-C, after the command has ended: it writes its checkpoint first.
    """
    path = ROOT / "src" / "tracer1" / script
    sys.stderr.write(f"$ {shlex.join([sys.executable, str(path), *overrides])}\n")
    sys.stderr.flush()
    context = _forkserver()
    begun = context.Event()
    process = context.Process(target=become, args=(begun, str(path), list(overrides)))
    try:
        process.start()
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
    if process.exitcode:
        raise CommandFailed(
            f"{script} ended with code {process.exitcode}; run the study again to go on from its last checkpoint."
        )


def _forkserver() -> Any:
    """The server, deaf to Ctrl-C from its first instruction on: interrupted among its imports it would answer with a traceback."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which what is started inherits
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, heard)
    return context


def become(begun: Any, path: str, overrides: list[str]) -> None:
    """What the new process does: it is `python PATH OVERRIDES` from here on, and hears Ctrl-C again.

    Args:
        begun: An event, set when an interrupt is the command's own affair.
        path: The script.
        overrides: Its arguments.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    begun.set()
    sys.argv = [path, *overrides]
    runpy.run_path(path, run_name="__main__")
