"""What a session's processes use, seen from outside: processes, memory, processor time, files. It decides nothing but "too much"."""

import contextlib
import os
import time
from pathlib import Path

from tracer1.sandbox import Limits
from tracer1.sandbox._link import Link

MOST_FILES = 10_000  # new files in a folder
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_TICKS = os.sysconf("SC_CLK_TCK")
_PAUSE_S = 0.05  # between two looks at a folder, at least
_SLACK_S = 0.5  # processor time that a run may have beyond its limit: the wall clock usually ends it first


class Watch:
    """Looks at an interpreter while it runs a block.

    Args:
        link: The interpreter; without a process number only the folder is watched.
        folder: What its code may write to; what is there now is not counted.
    """

    def __init__(self, link: Link, folder: Path) -> None:
        self._link, self._folder = link, folder
        begin = time.monotonic()
        self._files, self._bytes = _size(folder)
        self._rest(begin)

    def begin(self, limits: Limits) -> None:
        """A block begins, with these limits."""
        self._limits = limits
        self._seconds: float | None = None  # of processor time, at the first look: earlier blocks are not this one's

    def exceeded(self) -> tuple[str, str] | None:
        """The kind of error and its text, when something is beyond its limit."""
        return self._processes_exceeded() or self.folder_exceeded()

    def folder_exceeded(self) -> tuple[str, str] | None:
        """The same for the folder alone. It is looked at now and then only: for a tenth of the time at most."""
        begin = time.monotonic()
        if begin < self._next:
            return None
        files, size = _size(self._folder)
        self._rest(begin)
        if size - self._bytes > self._limits.folder_mb << 20:
            return "killed", f"stopped: more than {self._limits.folder_mb} MiB were written to the folder"
        if files - self._files > MOST_FILES:
            return "killed", f"stopped: more than {MOST_FILES} files were written to the folder"
        return None

    def _rest(self, begin: float) -> None:
        now = time.monotonic()
        self._next = now + max(_PAUSE_S, 10 * (now - begin))

    def _processes_exceeded(self) -> tuple[str, str] | None:
        if self._link.pid is None:
            return None
        tasks, memory_mb, seconds = 0, 0.0, 0.0
        for count, mb, used in _tree(self._link.pid, 4 * self._limits.processes):
            tasks, seconds = tasks + count, seconds + used
            memory_mb += max(0.0, mb - self._link.own_mb)
        if tasks > self._limits.processes:
            return "killed", f"stopped: more than {self._limits.processes} processes and threads"
        if memory_mb > self._limits.memory_mb:
            return "memory", f"stopped: its processes took more than {self._limits.memory_mb} MiB of memory together"
        if self._seconds is None:
            self._seconds = seconds
        if seconds - self._seconds > self._limits.cpu_s + _SLACK_S:
            return "timeout", f"stopped after {self._limits.cpu_s:g} s of processor time"
        return None


def _tree(pid: int, most: int) -> list[tuple[int, float, float]]:
    """(threads, MiB of its own, seconds of processor time) of a process and its descendants, `most` of them."""
    found, waiting = [], [pid]
    while waiting and len(found) < most:
        pid = waiting.pop()
        with contextlib.suppress(OSError, ValueError, IndexError):  # it ended meanwhile
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            memory = Path(f"/proc/{pid}/statm").read_text().split()
            own_mb = (int(memory[1]) - int(memory[2])) * _PAGE_MB
            found.append((int(fields[17]), own_mb, sum(map(int, fields[11:15])) / _TICKS))
            for task in os.listdir(f"/proc/{pid}/task"):
                waiting += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def _size(folder: Path) -> tuple[int, int]:
    """Number and bytes of the files under a folder; links are not followed."""
    files = size = 0
    waiting = [os.fspath(folder)]
    while waiting and files < 4 * MOST_FILES:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                files += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
    return files, size
