"""A last bound by the kernel on all sessions together, where this process may make cgroups: root, mostly. It knows no session.

Each session's own bounds are kept by looking (`_watch`); this one holds while nobody looks, as when a training holds Python's lock.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

MOST_TASKS = 1000  # processes and threads of all sessions
_ROOT = Path("/sys/fs/cgroup")


def enclose(pid: int) -> list[Path]:
    """Puts a process, and what it will fork, into bounded cgroups; those that could be made, perhaps none."""
    half = (
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    )  # of the machine's memory: the rest is the training's
    made = []
    for base in _ours():
        bounds = {"pids.max": MOST_TASKS, "memory.max": half, "memory.limit_in_bytes": half}
        _remove_left_over(base)
        folder = base / f"tracer1-{os.getpid()}-{pid}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            made.append(folder)
            for name in filter(lambda name: (folder / name).exists(), bounds):
                (folder / name).write_text(str(bounds[name]))
            (folder / "cgroup.procs").write_text(str(pid))
    return made


def remove(folders: list[Path]) -> None:
    """Removes the cgroups of processes that have been killed, which takes them a moment."""
    for folder in folders:
        for _ in range(20):
            with contextlib.suppress(FileNotFoundError, OSError):
                folder.rmdir()
            if not folder.exists():
                break
            time.sleep(0.01)


def _ours() -> Iterator[Path]:
    """The cgroups of this process that can bound tasks or memory: two of them in version 1, one in version 2."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("pids", "memory"):
                yield _ROOT / controllers / path.lstrip("/")
            elif not controllers and (_ROOT / "cgroup.controllers").exists():
                yield _ROOT / path.lstrip("/")


def _remove_left_over(base: Path) -> None:
    """Those of processes that were killed before they could tidy up."""
    for folder in base.glob("tracer1-*-*"):
        owner = re.fullmatch(r"tracer1-(\d+)-\d+", folder.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            with contextlib.suppress(OSError):
                folder.rmdir()
