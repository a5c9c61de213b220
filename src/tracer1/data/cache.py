"""Keeps local copies of shards that lie elsewhere, for all ranks and workers of a machine. It knows nothing about what is in them.

A copy appears under its name only when it is whole and, where a `manifest.json` lies beside the shards, is the one listed there.
The manifest is copied, too: with both, a training begins while the store is down. Nothing is ever removed: the folder grows to the size
of the shards that were read, and may be deleted while nothing runs. When its disk is full, shards are read without a copy.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tracer1.data.remote import CHUNK, UnreachableShard, UnreadableShard, open_remote
from tracer1.data.shard_writer import FULL, MANIFEST, DiskFull, finished_file
from tracer1.errors import ConfigError

log = logging.getLogger(__name__)


def cached(url: str, folder: Path) -> Path | None:
    """The local copy of a shard, fetched if need be.

    Args:
        url: Of the shard.
        folder: Where copies are kept; made if need be.

    Returns:
        Its path; None when the disk is full.

    Raises:
        UnreadableShard: The shard cannot be fetched, or is not the one that the manifest lists.
        ConfigError: The folder cannot be written to.
    """
    listed = _manifest(url.partition("?")[0].rpartition("/")[0], Path(folder)).get(_file_name(url), {})
    path = Path(folder) / _copy_name(url, listed.get("sha256", ""))
    if path.exists():  # it was checked before it got this name
        return path
    try:
        with _alone(path):
            if not path.exists():  # whoever was here before may have fetched it
                _fetch(url, path, listed)
    except OSError as error:
        if error.errno not in FULL:
            raise ConfigError(
                f"data.cache: {folder} cannot be written to ({error.strerror or error}). Name another folder, or null."
            ) from error
        log.warning("data.cache: the disk of %s is full; %s is read without a copy.", folder, url)
        return None
    return path


def _file_name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2] or "shard.tar"


def _copy_name(url: str, sha256: str) -> str:
    """Unique for the URL and the content listed: a shard that was written again gets another copy."""
    digest = hashlib.sha256(f"{url}\0{sha256}".encode()).hexdigest()[:16]
    return f"{digest}-{re.sub(r'[^A-Za-z0-9._-]', '_', _file_name(url))[-120:]}"


@functools.cache
def _manifest(folder: str, copies: Path) -> dict[str, Any]:
    """What the manifest beside the shards says of each, by name; empty where there is none that can be read.

    Raises:
        UnreachableShard: The store is down, and the manifest was never copied.
    """
    url = f"{folder}/{MANIFEST}"
    copy = copies / _copy_name(url, "")
    try:
        with open_remote(url) as stream:
            text = stream.read()
        shards = json.loads(text)["shards"]
        _keep(text, copy)
    except UnreachableShard:
        try:
            shards = json.loads(copy.read_bytes())["shards"]
        except (OSError, ValueError, KeyError, TypeError):  # there is none, or none that can be read
            shards = None
        if shards is None:
            raise
        log.warning("%s is not reachable; its copy from an earlier run says which shards these are.", url)
    except UnreadableShard:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s/%s is damaged (%s); the shards beside it are not compared with it.", folder, MANIFEST, error)
        return {}
    return shards if isinstance(shards, dict) else {}


def _keep(text: bytes, path: Path) -> None:
    """A copy of a manifest, whole or not at all; without one the next start needs the store."""
    try:
        with _alone(path), finished_file(path) as stream:
            stream.write(text)
    except (OSError, DiskFull) as error:
        log.debug("No copy of the manifest: %s", error)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the shard's lock, so that a machine fetches it once; the lock goes with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f"{path.name}.lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in path.parent.glob(f"{path.name}.*.part"):  # by a process that was killed
            left.unlink(missing_ok=True)
        yield


def _fetch(url: str, path: Path, listed: dict[str, Any]) -> None:
    """Fetches a shard, at most twice, and gives it its name. Raises UnreadableShard or OSError."""
    for last in (False, True):
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as copy, open_remote(url) as stream:
                digest = hashlib.sha256()
                while data := stream.read(CHUNK):
                    copy.write(data)
                    digest.update(data)
                same = listed.get("bytes", copy.tell()) == copy.tell()
            if same and listed.get("sha256", digest.hexdigest()) == digest.hexdigest():
                os.chmod(name, 0o644)
                os.replace(name, path)
                return
        finally:
            Path(name).unlink(missing_ok=True)
        if last:
            raise UnreadableShard(
                f"Shard {url} is not the one that {MANIFEST} beside it lists: its size or sha256 differs. Write or copy the "
                "shards and their manifest again."
            )
        log.warning("%s is not the one that %s beside it lists; fetching it again.", url, MANIFEST)
