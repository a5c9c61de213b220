"""A file that one process at a time makes. It knows nothing of what is in it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time, on all machines that share the file's folder, which is made. A killed process holds nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        with suppress(OSError):  # a network file system without locks: two first processes may both make it
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(
                    lock, fcntl.LOCK_UN
                )  # what was forked meanwhile, a data worker, has the lock's file open, too
