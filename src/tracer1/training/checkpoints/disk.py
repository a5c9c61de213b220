"""What the disk does to files: made durable, hashed, and why one could not be written. It knows nothing of what is in them."""

import errno
import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_THREADS = 8  # hashing lets other threads run


def cannot_write(error: BaseException | None) -> str | None:
    """Why a file could not be written, if it is the disk's fault; None for any other error.

    torch wraps the disk's error into one of its own, safetensors gives only its text.
    """
    while error is not None:
        if (isinstance(error, OSError) and error.errno in _NO_ROOM) or "StorageFull" in str(error):
            return "No space left"
        if isinstance(error, OSError) and error.errno is not None:
            return f"The disk gave an error ({error.strerror})"
        error = error.__cause__ or error.__context__
    return None


def flush(path: Path) -> None:
    """Has a file, or a folder's names, written to the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hashes(paths: Iterable[Path]) -> list[str]:
    """The SHA-256 of each file, several at a time."""
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(_hash, paths))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
