"""Reads shards: WebDataset tar files of steps, `{key}.json` + `{key}.png|jpg`, a trajectory's steps in order in one.

`write_shards` (in `shard_writer.py`) makes them and is offered here too; `remote.py` and `cache.py` bring those that lie elsewhere.
This module knows nothing about shuffling, ranks or torch, and nothing about where a step came from.
"""

import contextlib
import glob
import gzip
import json
import logging
import re
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from tracer1.data.cache import cached
from tracer1.data.images import check_image
from tracer1.data.records import Stored, key_stem, schema_problem, to_steps
from tracer1.data.remote import UnreadableShard, list_remote, open_remote
from tracer1.data.shard_writer import group_trajectories, write_shards
from tracer1.errors import ConfigError, DataError
from tracer1.schema import Step

__all__ = ["expand_urls", "group_trajectories", "read_steps", "read_stored", "read_trajectories", "write_shards"]

log = logging.getLogger(__name__)

OnBadStep = str | Callable[[str], None]  # "error", "warn", or a function that is told what is skipped

REMEDY = "Write the shard again with tools/make_shards.py, or skip bad steps with data.on_bad_step=warn."
_ASIDE = re.compile(r"__[^/]*__($|/)")
END_MARK = 1024  # bytes: a tar file ends with two blocks of zeros


def expand_urls(patterns: Iterable[str]) -> list[str]:
    """Shards named by paths or URLs with globs (`*.tar`) and braces (`{000..012}`), sorted within a pattern, each once.

    Raises:
        DataError: A pattern that matches nothing, or a store that does not list its files.
        MissingDependency: The package for a kind of store is not installed.
    """
    import braceexpand

    urls: dict[str, None] = {}
    for pattern in patterns:
        for name in braceexpand.braceexpand(str(pattern)):
            found = list_remote(name) if "://" in name else sorted(glob.glob(name, recursive=True))
            if not found:
                raise DataError(
                    f"No shard matches {name}. Write shards there with tools/make_shards.py, or correct data.sets."
                )
            urls.update(dict.fromkeys(found))
    return list(urls)


def read_steps(
    urls: Iterable[str],
    *,
    history: int | None = 4,
    horizon: int | None = 10,
    on_bad_step: OnBadStep = "error",
    verify_images: bool = True,
    cache: Path | str | None = None,
) -> Iterator[Step]:
    """The steps of several shards, in order. Arguments and errors are those of `read_trajectories`."""
    skipped = 0

    def count(line: str) -> None:
        nonlocal skipped
        skipped += 1
        log.warning(line)

    tell = count if on_bad_step == "warn" else on_bad_step
    for url in urls:
        for stored in read_stored(url, on_bad_step=tell, verify_images=verify_images, cache=cache):
            yield from to_steps(stored, history, horizon)
    if skipped:
        log.warning("%d bad steps in all; each was skipped with the rest of its trajectory.", skipped)


def read_trajectories(
    url: str,
    *,
    history: int | None = None,
    horizon: int | None = None,
    on_bad_step: OnBadStep = "error",
    verify_images: bool = True,
    cache: Path | str | None = None,
) -> Iterator[list[Step]]:
    """The trajectories of one shard, in order.

    Args:
        url: A path or URL of a `.tar` or `.tar.gz`.
        history: Earlier steps that each step shows (K); None for all.
        horizon: Expert steps that each step holds from its own on (T); None for all.
        on_bad_step: `error` raises; `warn` logs one line and leaves out the trajectory from the bad step on (the steps
            before it stay, and their future ends there); a function is told that line instead of the log.
        verify_images: Decode every screenshot now, so that none fails in the middle of training.
        cache: A folder for copies of shards that have a URL; None reads them anew each time.

    Yields:
        The steps of one trajectory; never an empty list.

    Raises:
        DataError: A shard that is missing or cut off, whatever `on_bad_step` says; with `error` also a step that breaks
            the schema, is out of order, or whose screenshot is missing or does not decode.
    """
    for trajectory in read_stored(url, on_bad_step=on_bad_step, verify_images=verify_images, cache=cache):
        yield to_steps(trajectory, history, horizon)


def read_stored(
    url: str, *, on_bad_step: OnBadStep = "error", verify_images: bool = True, cache: Path | str | None = None
) -> Iterator[list[Stored]]:
    """As `read_trajectories`, but the records as they are stored."""
    if not (callable(on_bad_step) or on_bad_step in ("error", "warn")):
        raise ConfigError(f"data.on_bad_step is {on_bad_step!r}; choose 'error' or 'warn'.")
    seen: set[str] = set()
    for stem, members in groupby(_members(url, cache), lambda member: key_stem(member["__key__"])):
        trajectory: list[Stored] = []
        try:
            for member in members:
                stored = _parse(url, member, verify_images)
                _check_place(url, stored.record, trajectory, again=stem in seen)
                trajectory.append(stored)
            _check_end(url, trajectory)
        except UnreadableShard:
            raise
        except DataError as error:
            if on_bad_step == "error":
                raise
            line = str(error).replace(REMEDY, "The rest of its trajectory is skipped.")
            log.warning(line) if on_bad_step == "warn" else on_bad_step(line)
        seen.add(stem)
        if trajectory:
            yield trajectory


@contextlib.contextmanager
def open_shard(url: str, cache: Path | str | None = None) -> Iterator[BinaryIO]:
    """Opens a shard as a stream of plain tar bytes. Raises UnreadableShard when it is not there."""
    path: Path | str | None = url
    if elsewhere := "://" in url:
        path = None if cache is None else cached(url, Path(cache))
    try:
        raw: Any = open_remote(url) if path is None else open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UnreadableShard(f"Shard {url} cannot be opened: {error.strerror or error}. Correct data.sets.") from error
    name = urlsplit(url).path if elsewhere else url
    with raw:
        # tarfile's own decompression of streams neither notices a cut nor looks at the checksum
        yield gzip.GzipFile(fileobj=raw) if name.endswith((".gz", ".tgz")) else raw


class _Tail:
    """A stream that remembers its last bytes, which tell a whole tar from one that was cut off between two members."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.last = stream, b""

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.last = (self.last + data[-END_MARK:])[-END_MARK:]
        return data

    def finish(self) -> None:
        """Reads what is left, which also checks a gzip's checksum; raises EOFError without the end mark."""
        while self.read(1 << 20):
            pass
        if self.last != bytes(END_MARK):
            raise EOFError("the end mark is missing")


def _files(stream: _Tail) -> Iterator[tuple[str, bytes]]:
    """The files of a tar with their names, WebDataset's own (`__name__`) aside.

    Not WebDataset's loop, which leaves closing each file to Python's finalizer: a Ctrl-C that comes meanwhile is lost without a word.
    """
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for info in archive:
            if info.isreg() and not _ASIDE.match(info.name):
                with archive.extractfile(info) as file:
                    data = file.read()
                yield info.name, data
            archive.members = []  # else it remembers all of them


def _members(url: str, cache: Path | str | None) -> Iterator[dict[str, Any]]:
    """The steps' members, `{"__key__": key, "json": bytes, "png": bytes}`; raises UnreadableShard at a cut."""
    from webdataset.tariterators import group_by_keys

    names: deque[str] = deque(maxlen=2)  # a step is whole once the next member has begun

    def files(stream: _Tail) -> Iterator[dict[str, Any]]:
        for name, data in _files(stream):
            names.append(name)
            yield {"fname": name, "data": data, "__url__": url}

    try:
        with open_shard(url, cache) as stream:
            tail = _Tail(stream)
            held = None  # the last member waits for the end mark: a step cut in half is no bad step but a cut shard
            for member in group_by_keys(files(tail)):
                if held is not None:
                    yield held
                held = member
            tail.finish()
            if held is not None:
                yield held
    except UnreadableShard as error:
        raise UnreadableShard(str(error).partition(" @ ")[0]) from error.__cause__  # webdataset adds an address
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:  # also what a download says when it is closed
        whole = names[0].rpartition(".")[0] if len(names) == 2 else None
        place = f"after step {whole!r}" if whole else "before its first step was whole"
        reason = str(error.args[0] if error.args else error).partition(" @ ")[0]  # webdataset adds an address
        raise UnreadableShard(
            f"{url}: the shard is cut off or damaged {place} ({reason}). Fetch it again, or write it again with "
            "tools/make_shards.py."
        ) from error
    except ValueError as error:  # two members of one name
        raise UnreadableShard(f"{url}: {error.args[0]}. Write it again with tools/make_shards.py.") from error


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _parse(url: str, member: dict[str, Any], verify_images: bool) -> Stored:
    """Checks one step by itself. Raises DataError."""
    key = member["__key__"]
    if "json" not in member:
        raise DataError(f"{url}: step {key!r} has no {key}.json. {REMEDY}")
    try:
        record = json.loads(member["json"], parse_constant=_not_json)
    except ValueError as error:  # also UnicodeDecodeError
        raise DataError(f"{url}: step {key!r} is not JSON ({error}). {REMEDY}") from error
    if problem := schema_problem(record):
        raise DataError(f"{url}: step {key!r} breaks step.schema.json at {problem[0]}: {problem[1]}. {REMEDY}")
    if record["key"] != key:
        raise DataError(f"{url}: the member {key}.json holds the step {record['key']!r}. {REMEDY}")
    screenshot = next((member[kind] for kind in ("png", "jpg", "jpeg") if kind in member), None)
    if record["has_screenshot"] != (screenshot is not None):
        wrong = "its screenshot is missing" if record["has_screenshot"] else "it has a screenshot but says it has none"
        raise DataError(f"{url}: step {key!r}: {wrong}. {REMEDY}")
    if screenshot is not None and verify_images:
        try:
            size = check_image(screenshot)
        except ValueError as error:
            raise DataError(f"{url}: step {key!r}: its screenshot does not decode ({error}). {REMEDY}") from error
        if record["image_size"] not in (None, list(size)):
            says = "x".join(map(str, record["image_size"]))
            raise DataError(
                f"{url}: step {key!r}: its screenshot has {size[0]}x{size[1]} pixels, but image_size says {says}. {REMEDY}"
            )
    return Stored(record, screenshot)


def _check_place(url: str, record: dict[str, Any], before: list[Stored], again: bool) -> None:
    """Checks that a record follows on from those before it. Raises DataError."""
    key, t = record["key"], len(before)
    if record["index"] != t:
        where = "Its trajectory's steps do not stand together in one shard" if again or t == 0 else "A step is missing"
        raise DataError(f"{url}: step {key!r} has index {record['index']} where {t} is due. {where}. {REMEDY}")
    if before:
        first = before[0].record
        for name in ("dataset", "trajectory", "split", "num_steps"):
            if record[name] != first[name]:
                differs = f"{name} {record[name]!r}, but {first['key']!r} has {first[name]!r}"
                raise DataError(f"{url}: step {key!r} has {differs}. {REMEDY}")


def _check_end(url: str, trajectory: list[Stored]) -> None:
    last = trajectory[-1].record
    if last["num_steps"] != len(trajectory):
        raise DataError(
            f"{url}: after step {last['key']!r} its trajectory ends, with {len(trajectory)} of {last['num_steps']} steps in "
            f"this shard. {REMEDY}"
        )
