"""Reads files that lie elsewhere (http, s3, gs, whatever fsspec knows) as one unbroken stream, and lists them.

A broken connection is opened again and goes on at the byte where it broke, so whoever reads never gets a byte twice. It knows
nothing about tar files, steps or training. Credentials are those that the store's own tools use.
"""

import glob
import io
import logging
import random
import time
from typing import Any, BinaryIO

from tracer1.errors import ConfigError, DataError, MissingDependency, Tracer1Error

log = logging.getLogger(__name__)

WAITS = (1, 2, 4, 8, 16, 30, 30)  # seconds before each further attempt; a byte that arrives starts them anew
STALL_S = 60.0  # an http server that says nothing for so long counts as broken
WORTH_ANOTHER_TRY = {408, 425, 429}  # of the answers 4xx; the others stay as they are
CHUNK = 1 << 20  # bytes
NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "DefaultCredentialsError",
}  # botocore, google
_NO_STAMP = "none"


class UnreadableShard(DataError):
    """A shard that is missing or cut off: nothing behind that place can be read, so there is nothing to skip."""


class UnreachableShard(UnreadableShard):
    """Its server gives no answer, or none but errors of its own; another day it may."""


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path on it.

    Raises:
        MissingDependency: The package for this kind of store is not installed.
        ConfigError: Nobody knows this kind of store.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)
    except ImportError as error:
        raise MissingDependency(
            f"{url} cannot be read ({error}). Install what reads s3:// and gs://: pip install 'tracer1[remote]'."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{url} cannot be read ({error}). Use a path, http(s)://, s3:// or gs:// in data.sets."
        ) from error


def list_remote(pattern: str) -> list[str]:
    """The URLs that a pattern with `*`, `?` or `[...]` matches, sorted; a URL without them as it is.

    In an http URL a `?` begins the query, and there is a list only where the server shows its folder as a page of links.

    Raises:
        DataError: The store does not list its files.
    """
    store, path = filesystem(pattern)
    if not ("*" in path or "[" in path if _is_http(store) else glob.has_magic(path)):
        return [pattern]
    for attempt in range(len(WAITS) + 1):
        try:
            return sorted(store.unstrip_protocol(name) for name in store.glob(path))
        except Exception as error:  # stores raise whatever their libraries do
            if reason := _for_good(error):
                raise DataError(
                    f"The shards {pattern} cannot be listed ({reason}). Correct data.sets, or write the names out with braces, "
                    "in quotes on a command line: \"['s3://bucket/gui-train-{000000..000012}.tar']\"."
                ) from error
            if attempt == len(WAITS):
                raise DataError(
                    f"The shards {pattern} cannot be listed: {len(WAITS) + 1} attempts in a row failed, the last with "
                    f"{_said(error)}. See whether its server is up."
                ) from error
            _wait(pattern, f"cannot be listed ({_said(error)})", attempt)
    raise AssertionError("the last attempt returns or raises")


def open_remote(url: str) -> BinaryIO:
    """A file elsewhere as one stream from its beginning to its end, over as many connections as it takes.

    Reading raises UnreadableShard when the file is not there, when it is another one than at first after a break, and when
    `len(WAITS)` further attempts in a row bring no byte.
    """
    # a large buffer: what has arrived when a connection breaks is not asked for again, and each read is a round trip
    return io.BufferedReader(RemoteFile(url), CHUNK)


class RemoteFile(io.RawIOBase):
    """See `open_remote`."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.place = url, 0  # bytes that were handed out
        self.size: int | None = None  # bytes in all, where the store tells
        self._stamp = _NO_STAMP  # what tells this file from another of the same name
        self._file: Any = None
        self._failures = 0  # since the last byte

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: memoryview) -> int:
        """Fills the buffer with what comes next, at least a byte but at the end. Raises UnreadableShard."""
        while True:
            try:
                data = self._read_once(len(buffer))
            except Tracer1Error:
                raise
            except Exception as error:  # stores raise whatever their libraries do
                self._let_go()
                self._try_again(error)
                continue
            if data:
                buffer[: len(data)] = data
                self.place += len(data)
                self._failures = 0
            return len(data)

    def _read_once(self, size: int) -> bytes:
        if self._file is None:
            self._connect()
        data = self._file.read(size)
        if not data and size and self.size is not None and self.place < self.size:
            raise ConnectionError(f"the stream ended after {self.place} of {self.size} bytes")
        return data

    def _connect(self) -> None:
        """Opens the file at the place where the next byte is due."""
        store, path = filesystem(self.url)
        if _is_http(store):
            self._file, at, size, stamp = _open_http(store, path, self.place)
        else:
            if self._failures:
                store.invalidate_cache()
            about = store.info(path)
            size, stamp = about.get("size"), str(about.get("ETag") or about.get("etag") or about.get("mtime"))
            self._file = store.open(path, "rb")
            at = self._file.seek(self.place)
        other = _NO_STAMP not in (self._stamp, stamp) and stamp != self._stamp
        if other or (None not in (self.size, size) and size != self.size):
            raise UnreadableShard(
                f"{self.url} was replaced by another file while it was being read. Go on from the last checkpoint, and do "
                "not write shards where a training reads."
            )
        self.size, self._stamp = size, stamp
        while at < self.place:  # a server that only sends from the beginning
            skipped = len(self._file.read(min(CHUNK, self.place - at)))
            if not skipped:
                raise ConnectionError(f"the stream ended after {at} bytes, and {self.place} had been read before")
            at += skipped

    def _try_again(self, error: Exception) -> None:
        """Waits before the next attempt. Raises UnreadableShard where there shall be none."""
        where = f"at byte {self.place:,}" + ("" if self.size is None else f" of {self.size:,}")
        if reason := _for_good(error):
            there = "" if self.place == 0 else f" any more, {where}"
            raise UnreadableShard(
                f"Shard {self.url} cannot be read{there}: {reason}. Correct data.sets, or put the shard back."
            ) from error
        if self._failures == len(WAITS):
            raise UnreachableShard(
                f"Shard {self.url} cannot be read on {where}: {len(WAITS) + 1} attempts in a row failed, the last with "
                f"{_said(error)}. See whether its server is up, and go on from the last checkpoint."
            ) from error
        _wait(self.url, f"broke off {where} ({_said(error)})", self._failures)
        self._failures += 1

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Lets the connection go."""
        self._let_go()
        super().close()


def _is_http(store: Any) -> bool:
    protocols = (store.protocol,) if isinstance(store.protocol, str) else store.protocol
    return "http" in protocols


def _open_http(store: Any, url: str, place: int) -> tuple[Any, int, int | None, str]:
    """One request for everything from `place` on: the stream, the byte it really begins at, the file's size, its stamp."""
    import aiohttp

    headers = {**store.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
    if place:
        headers["Range"] = f"bytes={place}-"
    stream = store.open(
        url,
        block_size=0,  # a stream: ranges of blocks would fail with servers that know no ranges
        size=1,  # spares a HEAD request, whose failures fsspec calls "not found" whatever they are
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=STALL_S, sock_read=STALL_S),
    )
    reply = stream.r
    total = reply.headers.get("Content-Range", "").rpartition("/")[2] if reply.status == 206 else None
    if reply.status == 200 and "Content-Encoding" not in reply.headers:
        total = reply.headers.get("Content-Length")
    stamp = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or _NO_STAMP
    return stream, place if reply.status == 206 else 0, int(total) if total and total.isdigit() else None, stamp


def _for_good(error: Exception) -> str | None:
    """Why another attempt cannot help; None where it may."""
    status = getattr(error, "status", None) or getattr(error, "code", None)  # of aiohttp and gcsfs
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "it is not there"
    if isinstance(error, PermissionError) or status in (401, 403):
        return f"access is denied{'' if status is None else f' (HTTP {status})'}"
    if isinstance(status, int) and 400 <= status < 500 and status not in WORTH_ANOTHER_TRY:
        return f"the server refuses it (HTTP {status})"
    if type(error).__name__ in NO_CREDENTIALS:
        return f"{_said(error)}; set what the store's own tools read, e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, (IsADirectoryError, ValueError, NotImplementedError)):
        return _said(error)
    return None


def _said(error: Exception) -> str:
    """An error in one short line; some have no text."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"


def _wait(url: str, what: str, failures: int) -> None:
    seconds = WAITS[failures] * random.SystemRandom().uniform(0.75, 1.25)  # not all ranks at once
    log.warning(
        "%s %s; attempt %d of %d follows in %.3g s.", url, what, failures + 2, len(WAITS) + 1, round(seconds, 1)
    )
    time.sleep(seconds)
