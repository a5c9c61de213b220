"""The operating system's side of a browser: which processes belong to it, what they cost, how the last of them ends.

It knows nothing of pages or episodes.
"""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

KILL_LIMIT = 3.0  # seconds
PROFILE = "--user-data-dir="


@dataclass(frozen=True, slots=True)
class Family:
    """Playwright's driver and the Chromium that it started."""

    driver: psutil.Process
    browser: psutil.Process
    profile: Path | None  # the temporary folder that a killed Chromium or driver leaves behind

    def end(self) -> None:
        """Kills what did not stop by itself, such as a process that hangs, and removes the profile."""
        left = []
        for process in (self.driver, self.browser):
            with contextlib.suppress(psutil.Error):
                left += [*process.children(recursive=True), process]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, KILL_LIMIT)
        if self.profile is not None:
            shutil.rmtree(self.profile, ignore_errors=True)


def find_family(mark: str) -> Family | None:
    """The browser that has `mark` on its command line, among the descendants of this process."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if mark in command:
                profile = next((word.removeprefix(PROFILE) for word in command if word.startswith(PROFILE)), None)
                return Family(process.parent(), process, Path(profile) if profile else None)
    return None


def kind_of(process: psutil.Process) -> str:
    """`driver`, `browser` (its main process), `renderer`, `gpu` or `other`; raises psutil.Error for a process that is gone."""
    command = process.cmdline()
    if "run-driver" in command:
        return "driver"
    for kind in ("renderer", "gpu"):
        if any(word.startswith(f"--type={kind}") for word in command):
            return kind
    starter = command and Path(command[0]).name in (
        "sh",
        "bash",
        "dash",
    )  # Debian's script around Chromium waits beside it
    return "browser" if not starter and any(word.startswith(PROFILE) for word in command) else "other"


def running(kind: str) -> list[psutil.Process]:
    """The descendants of this process that are of a kind."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if kind_of(process) == kind:
                found.append(process)
    return found


def memory_mb() -> float:
    """What all descendants of this process hold: the sum of their proportional set sizes, in MB."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


def cpu_seconds() -> dict[str, float]:
    """Processor time since its start by kind of process, this one as `python`; a process that has ended no longer counts."""
    spent = {"python": sum(psutil.Process().cpu_times()[:2])}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            kind = kind_of(process)
            spent[kind] = spent.get(kind, 0.0) + sum(process.cpu_times()[:2])
    return spent
