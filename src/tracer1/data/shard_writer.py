"""Writes shards: the same steps give the same bytes, a trajectory never straddles two shards, and no half shard stays.

It knows nothing about the raw data sets that steps come from. Beside the shards it keeps `manifest.json`.
"""

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Self

from tracer1.data.images import image_format
from tracer1.data.records import SCHEMA_VERSION, key_stem, make_key, schema_problem, to_record
from tracer1.errors import DataError
from tracer1.schema import Step

MANIFEST = "manifest.json"
MB = 1_000_000  # bytes
BLOCK = 512  # bytes: a tar member takes whole blocks, and one for its header
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Member = tuple[str, bytes]


class DiskFull(DataError):
    """No space left where shards are written: unlike a bad step, nothing that follows can be written either."""


def group_trajectories(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Puts the adjacent steps of each trajectory together, as a converter gives them."""
    for _, group in groupby(steps, lambda step: (step.dataset, step.trajectory)):
        yield list(group)


def write_shards(
    trajectories: Iterable[Sequence[Step]],
    out: Path,
    *,
    split: str,
    prefix: str,
    max_shard_mb: float = 512,
    compress: bool = False,
) -> list[Path]:
    """Writes `<out>/<prefix>-<split>-000000.tar`, -000001.tar, ... and brings `<out>/manifest.json` up to date.

    Args:
        trajectories: Each one the steps of a whole trajectory, in order from index 0. Consumed one by one.
        out: The folder; made if need be. What an earlier call wrote with the same prefix and split is replaced.
        split: `train`, `val`, `test` or the owner's name; stored with each step.
        prefix: What the shards' names begin with.
        max_shard_mb: A shard is closed before it would grow beyond this (10^6 bytes before compression), unless one
            trajectory alone is larger.
        compress: Write `.tar.gz`.

    Returns:
        The shards written, in order; empty when there was no trajectory.

    Raises:
        DataError: No space left, a step that breaks the schema or is out of order, a screenshot that is neither PNG nor
            JPEG, or the same trajectory twice. The shards finished before stay; nothing half-written does.
    """
    (out := Path(out)).mkdir(parents=True, exist_ok=True)
    entries: dict[str, dict[str, Any]] = {}

    def closed(path: Path, entry: dict[str, Any]) -> None:
        entries[path.name] = {"prefix": prefix, "split": split} | entry
        _write_manifest(out, read_manifest(out) | entries)

    stem, suffix = f"{prefix}-{split}", ".tar.gz" if compress else ".tar"
    with ShardSeries(lambda number: out / f"{stem}-{number:06d}{suffix}", max_shard_mb, closed) as series:
        for members in _pack_all(trajectories, split):
            series.add(members)
    _remove_stale(out, prefix, split, entries)
    return [out / name for name in entries]


class ShardSeries:
    """Shards that are filled one after another; the open one appears under its name once it is whole. A context manager.

    Left with an error, it drops the open shard; otherwise it finishes it.

    Args:
        path_of: The path of the n-th shard, from 0; `.tar.gz` is compressed.
        max_shard_mb: A shard is closed before it would grow beyond this, unless one trajectory alone is larger.
        closed: Told of each shard once it is whole: its path, and trajectories, steps, bytes and sha256.
        first: The number of the first shard.
    """

    def __init__(
        self,
        path_of: Callable[[int], Path],
        max_shard_mb: float,
        closed: Callable[[Path, dict[str, Any]], None],
        first: int = 0,
    ) -> None:
        self.path_of, self.limit, self.closed, self.number = path_of, max_shard_mb * MB, closed, first
        self._open: contextlib.ExitStack | None = None
        self._tar: tarfile.TarFile | None = None
        self._size = self._trajectories = self._steps = 0

    def add(self, members: list[Member]) -> str:
        """Adds what `pack_trajectory` gave; returns the file name of the shard that it went to. Raises DiskFull."""
        size = _tar_bytes(members)
        if self._size and self._size + size > self.limit:
            self.close()
        path = self.path_of(self.number)
        if self._open is None:
            self._open = contextlib.ExitStack()
            self._tar = self._open.enter_context(_tar(path, path.suffix == ".gz"))
        _add(self._tar, members)
        self._size += size
        self._trajectories += 1
        self._steps += sum(name.endswith(".json") for name, _ in members)
        return path.name

    def close(self) -> None:
        """Finishes the open shard, if there is one. Raises DiskFull."""
        if self._open is None:
            return
        opened, self._open = self._open, None
        opened.close()
        path = self.path_of(self.number)
        counts = {"trajectories": self._trajectories, "steps": self._steps}
        self.number, self._size, self._trajectories, self._steps = self.number + 1, 0, 0, 0
        self.closed(path, counts | {"bytes": path.stat().st_size, "sha256": file_sha256(path)})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self.close()
        elif self._open is not None:
            opened, self._open = self._open, None
            opened.__exit__(*error)


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """What `manifest.json` says of each shard by its file name; empty when there is none. Raises DataError if damaged."""
    path = Path(folder) / MANIFEST
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))["shards"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged ({error}). Delete it and write the shards again with tools/make_shards.py."
        ) from error


@contextlib.contextmanager
def finished_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is whole and on disk.

    Raises:
        DiskFull: No space left; what had been written is removed.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno not in FULL:
            raise
        raise DiskFull(
            f"No space left on the disk of {path.parent} while writing {path.name}. The shards before it are whole; free "
            "some space or choose another folder, and run the command again."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _tar(path: Path, compress: bool) -> Iterator[tarfile.TarFile]:
    # not webdataset.TarWriter: when the disk is full its stream complains once more, on stderr, when it is collected
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(finished_file(path))
        if compress:
            stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=stream, mtime=0))
        yield stack.enter_context(_tar_on(stream))


def _tar_on(stream: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT)


def _add(tar: tarfile.TarFile, members: list[Member]) -> None:
    for name, content in members:
        info = tarfile.TarInfo(name)  # its time, user and group are 0 or empty: the bytes depend on the steps only
        info.size, info.mode = len(content), 0o644
        tar.addfile(info, io.BytesIO(content))


def _tar_bytes(members: list[Member]) -> int:
    return sum(BLOCK + -(-len(content) // BLOCK) * BLOCK for _, content in members)


def file_sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read as a stream."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _pack_all(trajectories: Iterable[Sequence[Step]], split: str) -> Iterator[list[Member]]:
    stems: set[str] = set()
    for trajectory in trajectories:
        if not trajectory:
            continue
        stem = key_stem(trajectory[0].key)
        if stem in stems:
            raise DataError(f"The trajectory {stem!r} comes twice. Give each its own id in the converter.")
        stems.add(stem)
        yield pack_trajectory(trajectory, split)


def pack_trajectory(trajectory: Sequence[Step], split: str) -> list[Member]:
    """The tar members of all steps of one trajectory. Raises DataError where a step breaks the schema or is out of order."""
    first, count = trajectory[0], len(trajectory)
    return [member for t, step in enumerate(trajectory) for member in _pack(step, first, t, count, split)]


def _pack(step: Step, first: Step, t: int, num_steps: int, split: str) -> list[Member]:
    """The members of one step, checked. Raises DataError."""
    if step.index != t or step.key != f"{key_stem(first.key)}-{t:03d}" or step.trajectory != first.trajectory:
        raise DataError(
            f"Step {step.key!r} (trajectory {step.trajectory!r}, index {step.index}) stands at place {t} of trajectory "
            f"{first.trajectory!r}. The converter must give all steps of a trajectory in order, with keys from `make_key`."
        )
    kind = None if step.screenshot is None else image_format(step.screenshot)
    if step.screenshot is not None and kind is None:
        raise DataError(f"Step {step.key!r}: its screenshot is neither PNG nor JPEG. Convert it, or leave it out.")
    try:
        text = _record_text(to_record(step, split, num_steps))
        content = text.encode()
    except (TypeError, ValueError) as error:  # no JSON type, NaN, or half a surrogate pair
        raise DataError(f"Step {step.key!r} cannot be written as JSON ({error}). Correct the converter.") from error
    if problem := schema_problem(json.loads(text)):
        where, what = problem
        raise DataError(f"Step {step.key!r} breaks step.schema.json at {where}: {what}. Correct the converter.")
    members = [(f"{step.key}.json", content)]
    return members if kind is None else [*members, (f"{step.key}.{kind}", step.screenshot)]


def _record_text(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, sort_keys=True)


def rename_trajectories(path: Path, names: Sequence[str]) -> None:
    """Writes a shard again with other trajectory ids; nothing else changes, and doing it twice changes nothing more.

    Args:
        path: The shard, a plain tar.
        names: The id of each trajectory, in the shard's order.
    """
    with tarfile.open(path) as old, finished_file(path) as stream, _tar_on(stream) as new:
        stem, place, key = "", -1, ""
        for info in old:
            old_key, _, kind = info.name.rpartition(".")
            content = old.extractfile(info).read()  # type: ignore[union-attr]  # there are files only
            if kind == "json":
                record = json.loads(content)
                if key_stem(old_key) != stem:
                    stem, place = key_stem(old_key), place + 1
                key = make_key(record["dataset"], names[place], record["index"])
                content = _record_text(record | {"trajectory": names[place], "key": key}).encode()
            _add(new, [(f"{key}.{kind}", content)])


def _write_manifest(out: Path, shards: dict[str, dict[str, Any]]) -> None:
    text = json.dumps({"schema_version": SCHEMA_VERSION, "shards": dict(sorted(shards.items()))}, indent=1)
    with finished_file(out / MANIFEST) as stream:
        stream.write(f"{text}\n".encode())


def _remove_stale(out: Path, prefix: str, split: str, written: dict[str, dict[str, Any]]) -> None:
    """Removes shards that an earlier, longer call wrote under the same names: a glob would find them."""
    shards = read_manifest(out)
    ours = {name for name, entry in shards.items() if (entry["prefix"], entry["split"]) == (prefix, split)}
    if stale := ours - set(written):
        for name in stale:
            (out / name).unlink(missing_ok=True)
        _write_manifest(out, {name: entry for name, entry in shards.items() if name not in stale})
