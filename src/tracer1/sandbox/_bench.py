"""How fast the sandbox is, beside a bare Python process in the same run, and how soon it ends what does not end by itself.

It knows nothing of what is fast enough.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tracer1.sandbox import Limits, Sandbox

_BLOCK = "print(6 * 7)"
_LIMIT_S = 3.0  # of the attacks
_ATTACKS = {
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "8 GiB allocation": "bytearray(8 << 30)",
    "8 GiB, bit by bit": "x = []\nwhile True: x.append(bytearray(1 << 24))",
    "endless loop": "while True: pass",
    "50 MB of output": "for _ in range(500): print('x' * 100_000)",
    "endless output": "while True: print('x' * 100_000)",
}


def latency(sandbox: Sandbox, calls: int) -> Iterator[str]:
    """Lines on the time of one call: a session that is opened, runs one block and is closed; and a block of an open session."""
    ours, bare, within = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        _call(sandbox, Path(folder))
        session = sandbox.session(Path(folder))
        session.run(_BLOCK)
        for _ in range(calls):  # alternately: whatever else the machine does disturbs both
            ours.append(_seconds(lambda: _call(sandbox, Path(folder))))
            bare.append(_seconds(lambda: subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)))
            within.append(_seconds(lambda: session.run(_BLOCK)))
        session.close()
    for name, times in (
        ("call (session of its own)", ours),
        ("python -I -c pass", bare),
        ("block of an open session", within),
    ):
        median, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        yield f"{name:28} median {1000 * median:7.2f} ms   p95 {1000 * p95:7.2f} ms   of {calls}"


def throughput(sandbox: Sandbox, workers: int, seconds: float) -> Iterator[str]:
    """A line on calls per second when several threads ask at once."""
    end = time.monotonic() + seconds

    def work(_: int) -> int:
        count = 0
        with tempfile.TemporaryDirectory() as folder:
            while time.monotonic() < end:
                _call(sandbox, Path(folder))
                count += 1
        return count

    begin = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        total = sum(pool.map(work, range(workers)))
    yield f"{workers} threads{'':19} {total / (time.monotonic() - begin):7.1f} calls/s   of {total}"


def attacks(sandbox: Sandbox, limits: Limits) -> Iterator[str]:
    """Lines on how long each attack lasts, and what became of it."""
    limits = replace(limits, wall_s=_LIMIT_S, cpu_s=_LIMIT_S)
    for name, code in _ATTACKS.items():
        with tempfile.TemporaryDirectory() as folder:
            session = sandbox.session(Path(folder))
            session.run("1")
            begin = time.monotonic()
            ran = session.run(code, limits)
            seconds = time.monotonic() - begin
            session.close()
            _call(sandbox, Path(folder))  # it still answers
        yield f"{name:28} {seconds:7.2f} s of {_LIMIT_S:g}   {ran.error or 'ran through'}{', output cut' if ran.cut else ''}"


def _call(sandbox: Sandbox, folder: Path) -> None:
    session = sandbox.session(folder)
    ran = session.run(_BLOCK)
    session.close()
    if ran.output != "42\n":
        raise AssertionError(ran)


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin
