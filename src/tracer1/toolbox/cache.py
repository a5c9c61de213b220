"""Results of calls by what went into them: tool, version, arguments, content of the files, backend. It knows nothing of tools.

n rollouts of a prompt often make the same call. Of those that arrive together one is executed and all get its result; later ones are
answered from disk, as are those of another run or process. Errors are never kept. An entry is one file that appears whole or not at
all and carries its digest: a damaged one is executed and written again. The folder only grows, and may be deleted at any time.
"""

import base64
import contextlib
import hashlib
import json
import logging
import os
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracer1.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that a call made."""

    stem: str  # what its name is made of: `crop` and `.png` of crop_1.png
    suffix: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """What a call gave."""

    value: Any  # plain JSON
    files: Mapping[str, NewFile] = field(default_factory=dict)  # by the name that the value calls them


def key_of(tool: str, version: int, arguments: Mapping[str, Any], files: Mapping[str, str], backend: str) -> str:
    """The key of a call, the same in every process.

    Args:
        tool: Its name.
        version: Of the tool.
        arguments: Plain JSON; those that name files are not part of it.
        files: Place in the arguments (`image_path`) -> SHA-256 of the file.
        backend: What answers: kind, address, model.
    """
    parts = {"tool": tool, "version": version, "arguments": arguments, "files": files, "backend": backend}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


class Cache:
    """Safe for several threads and several processes.

    Args:
        folder: Where entries are kept; made if need be. None keeps nothing, but calls that arrive together are still made once.

    Raises:
        ConfigError: The folder cannot be made.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.counts: Counter[str] = Counter()  # hit, shared, miss, damaged: calls of each kind so far
        self._running: dict[str, Future[Entry]] = {}
        self._lock = threading.Lock()
        self._warned = False
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"The cache of tool results cannot be kept in {folder} ({error.strerror}). Name another folder, or null."
                ) from error

    def get(self, key: str, produce: Callable[[], Entry]) -> tuple[Entry, bool]:
        """The entry of a key, and whether nothing was executed for it here.

        Args:
            key: See `key_of`.
            produce: Executes the call; what it raises goes to everybody who waits for it, and is not kept.
        """
        with self._lock:
            running = self._running.get(key)
            if running is None:
                mine = self._running[key] = Future()
        if running is not None:
            entry = running.result()
            self._count("shared")
            return entry, True
        try:
            entry = self._read(key)
            found = entry is not None
            if not found:
                entry = produce()
                self._write(key, entry)
        except BaseException as error:
            self._forget(key)
            mine.set_exception(error)
            raise
        self._count("hit" if found else "miss")
        self._forget(key)
        mine.set_result(entry)
        return entry, found

    @property
    def hit_rate(self) -> float:
        """Share of the calls so far that nothing was executed for, 0 to 1."""
        spared = self.counts["hit"] + self.counts["shared"]
        return spared / max(1, spared + self.counts["miss"])

    def _forget(self, key: str) -> None:
        with self._lock:
            del self._running[key]

    def _count(self, kind: str) -> None:
        with self._lock:
            self.counts[kind] += 1

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _read(self, key: str) -> Entry | None:
        """The entry on disk, None where there is none that can be used."""
        if self.folder is None:
            return None
        try:
            digest, _, body = self._path(key).read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError("its digest differs")
            return _decoded(json.loads(body))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._count("damaged")
            log.warning("%s is damaged (%s); the call is made again.", self._path(key), error)
            return None

    def _write(self, key: str, entry: Entry) -> None:
        if self.folder is None:
            return
        path = self._path(key)
        body = json.dumps(_encoded(entry), allow_nan=False).encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{key[:16]}.", suffix=".part", dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                os.chmod(name, 0o644)
                os.replace(name, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
        except (
            OSError
        ) as error:  # a full disk, a folder that was deleted or may not be written to: the result is there all the same
            if not self._warned:
                log.warning("Tool results are not kept in %s (%s); the run goes on.", self.folder, error.strerror)
            self._warned = True


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The value with file names in its texts replaced, all at once and as whole words only.

    Args:
        value: Plain JSON.
        names: Old -> new.
    """
    changed = {old: new for old, new in names.items() if old != new}
    if not changed:
        return value
    words = "|".join(re.escape(old) for old in sorted(changed, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.-])(?:{words})(?![\w-])")

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            return pattern.sub(lambda match: changed[match[0]], part)
        if isinstance(part, list):
            return [walk(item) for item in part]
        return {key: walk(item) for key, item in part.items()} if isinstance(part, dict) else part

    return walk(value)


def _encoded(entry: Entry) -> dict[str, Any]:
    files = {
        name: [made.stem, made.suffix, base64.b64encode(made.content).decode()] for name, made in entry.files.items()
    }
    return {"value": entry.value, "files": files}


def _decoded(body: Any) -> Entry:
    files = {
        name: NewFile(stem, suffix, base64.b64decode(content))
        for name, (stem, suffix, content) in body["files"].items()
    }
    return Entry(body["value"], files)
