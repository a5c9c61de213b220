"""One process for each side of a comparison: it does one step when told to, and answers with seconds and peak memory.

Only one side computes at a time, and each has its memory to itself. It knows nothing of what a step is.
"""

import importlib
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

from tracer1.errors import Tracer1Error

_START_S = 300  # seconds that a side may take to load
_MIB = 2**20


class BenchFailed(Tracer1Error):
    """A side of a comparison failed, or the sides did not do the same work."""


class Gate:
    """What a side's process holds: a step begins when `turn` returns True, and ends when it is called again.

    Args:
        pipe: To the process that asks for steps.
        device: `cpu` or `cuda`.
    """

    def __init__(self, pipe: Connection, device: str = "cpu") -> None:
        self.pipe, self.cuda = pipe, device != "cpu"
        self.facts: dict[str, Any] = {}  # what the sides must agree on, told once; and what a step made, told after it
        self._began: float | None = None

    def turn(self) -> bool:
        """Reports the step that has just ended (or that the side is ready) and waits; False: leave."""
        if self.cuda:
            torch.cuda.synchronize()
        seconds = None if self._began is None else time.perf_counter() - self._began
        self.pipe.send({"seconds": seconds, "peak_mib": self._peak() / _MIB, **self.facts})
        self.facts = {}
        go_on = self.pipe.recv() == "step"
        self._forget_peak()
        self._began = time.perf_counter()
        return go_on

    def _peak(self) -> float:
        """Bytes that the process (on a GPU: its allocator) has held at most since the step began."""
        if self.cuda:
            return torch.cuda.max_memory_allocated()
        return peak_memory()

    def _forget_peak(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            forget_peak()


def peak_memory() -> float:
    """The most bytes that this process has held in memory, since `forget_peak` where the system can forget (Linux)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) * 1024
    return float(psutil.Process().memory_info().rss)


def held_memory(device: str = "cpu") -> float:
    """Bytes that this process (on a GPU: its allocator) holds now."""
    return float(psutil.Process().memory_info().rss if device == "cpu" else torch.cuda.memory_allocated())


def forget_peak() -> None:
    """Lets the peak start anew from what is held now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak is then that of the whole process
        return


@dataclass
class Side:
    """A side's process as seen from outside, and what it has measured.

    Args:
        name: As it stands in tables.
        run: `module:function` with `function(gate, *arguments)` that calls `gate.turn()` between steps. A name, so that
            only the side's own process loads what it needs.
        arguments: For it; they travel to the process.
        device, threads: Where and how it computes.
    """

    name: str
    run: str
    arguments: Sequence[Any]
    device: str = "cpu"
    threads: int = 2
    steps: list[dict[str, Any]] = field(default_factory=list)
    ready: dict[str, Any] = field(default_factory=dict)
    _process: Any = field(default=None, init=False)

    def start(self) -> None:
        """Starts the process; `wait` waits until it is ready."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        setting = (self.device, self.threads)
        with _threads_for_children(self.threads):
            self._process = context.Process(
                target=_serve, args=(theirs, *setting, self.run, self.arguments), daemon=True
            )
            self._process.start()
        theirs.close()

    def wait(self) -> None:
        """Waits until the side is loaded."""
        self.ready = self._answer(_START_S)

    def step(self, keep: bool = True) -> dict[str, Any]:
        """Has one step done; `keep=False` for a warm-up."""
        self._pipe.send("step")
        answer = self._answer(None)
        if keep:
            self.steps.append(answer)
        return answer

    def stop(self) -> None:
        """Ends the process, if there is one."""
        if self._process is None:
            return
        with suppress(OSError):  # it has ended already
            self._pipe.send("stop")
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()

    def _answer(self, seconds: float | None) -> dict[str, Any]:
        try:
            if not self._pipe.poll(seconds):
                raise BenchFailed(f"{self.name} was not ready after {seconds} s.")
            answer = self._pipe.recv()
        except EOFError:
            self._process.join(5)
            raise BenchFailed(f"{self.name}'s process ended with code {self._process.exitcode}.") from None
        if "error" in answer:
            raise BenchFailed(f"{self.name} failed:\n{answer['error']}")
        return answer

    def summary(self) -> dict[str, Any]:
        """Median and range of the seconds, peak memory, and every figure there is."""
        seconds = [step["seconds"] for step in self.steps]
        return {
            "median_s": median(seconds),
            "least_s": min(seconds),
            "most_s": max(seconds),
            "peak_mib": max(step["peak_mib"] for step in self.steps),
            "ready_mib": self.ready["peak_mib"],
            "settings": self.ready.get("settings", {}),
            "steps": self.steps,
        }


@contextmanager
def _threads_for_children(count: int):
    """Libraries read these names when they are loaded, before any code of ours runs in the new process."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve(pipe: Connection, device: str, threads: int, run: str, arguments: Sequence[Any]) -> None:
    """The child's main: whatever goes wrong is told to the parent, where the user is."""
    torch.set_num_threads(threads)
    gate = Gate(pipe, device)
    module, _, function = run.partition(":")
    try:
        getattr(importlib.import_module(module), function)(gate, *arguments)
    except (BrokenPipeError, EOFError):
        return  # the parent has gone: nobody is left to tell
    except Exception:  # the boundary of the process
        pipe.send({"error": traceback.format_exc(limit=-6)})


def alternate(
    sides: Sequence[Side], repetitions: int, say: Callable[[str], None], *, together: bool = True
) -> Mapping[str, dict[str, Any]]:
    """Measures the sides in turns: one warm-up each, then `repetitions` rounds of one step each.

    Args:
        sides: What is compared.
        repetitions: Steps of each that count.
        say: Told what happens.
        together: False runs one side after the other, for models of which only one fits into memory.

    Returns:
        name -> `Side.summary()`.

    Raises:
        BenchFailed: a side failed.
    """
    groups = [list(sides)] if together else [[side] for side in sides]
    for group in groups:
        try:
            for side in group:
                side.start()
            for side in group:  # loading may overlap, steps never do
                side.wait()
            for side in group:
                first = side.step(keep=False)
                say(f"  {side.name}: ready, warm-up {first['seconds']:.2f} s")
            for number in range(repetitions):
                times = [(side.name, side.step()["seconds"]) for side in group]
                say(f"  {number + 1}/{repetitions}: " + ", ".join(f"{name} {s:.2f} s" for name, s in times))
        finally:
            for side in group:
                side.stop()
    return {side.name: side.summary() for side in sides}


def check_same(sides: Sequence[Side], names: Sequence[str]) -> None:
    """The sides must have told the same facts before their first step.

    Raises:
        BenchFailed: they would not do the same work.
    """
    for name in names:
        told = {side.name: side.ready.get(name) for side in sides}
        if len({str(value) for value in told.values()}) > 1:
            raise BenchFailed(f"The sides do not have the same {name}: {told}. The comparison would mean nothing.")
