"""Samples trajectories from shards and writes them as one page to look at. It knows nothing about training.

The page's HTML is in `gallery_page.py`.
"""

import heapq
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from tracer1.data.gallery_page import page
from tracer1.data.ordering import uniform
from tracer1.data.page_file import write_page
from tracer1.data.records import Stored
from tracer1.data.shards import read_stored
from tracer1.errors import DataError
from tracer1.registry import nearest

log = logging.getLogger(__name__)

Trajectory = list[Stored]


def sample_trajectories(
    shards: Sequence[Path], count: int, seed: int = 0, dataset: str | None = None
) -> list[Trajectory]:
    """Trajectories drawn by a hash of the seed and their names, spread over the shards.

    Shards are read in a drawn order until there are enough trajectories, so a large folder is not read to its end.

    Args:
        shards: Where to look.
        count: How many; fewer come where there are fewer.
        seed: Another seed draws others.
        dataset: Take only those of this data set.

    Raises:
        DataError: There is no trajectory, or none of that data set; a shard cannot be read.
    """
    order = sorted(shards, key=lambda path: uniform("gallery", seed, path.name))
    chosen: list[tuple[float, Trajectory]] = []
    spare: list[tuple[float, Trajectory]] = []
    names: set[str] = set()
    for place, path in enumerate(order):
        share = -(-(count - len(chosen)) // (len(order) - place))
        best = heapq.nsmallest(count, _drawn(path, seed, dataset, names), key=lambda pair: pair[0])
        chosen += best[:share]
        spare += best[share:]
        if len(chosen) == count:
            break
    chosen += sorted(spare, key=lambda pair: pair[0])[: count - len(chosen)]
    if not chosen:
        known = sorted(names)
        hint = f"{nearest(dataset, known)} There are {', '.join(known)}." if dataset and known else ""
        raise DataError(f"No trajectory{f' of data set {dataset!r}' if dataset else ''} in {len(order)} shards.{hint}")
    return sorted((trajectory for _, trajectory in chosen), key=_name)


def _name(trajectory: Trajectory) -> tuple[str, str, str]:
    first = trajectory[0].record
    return first["dataset"], first["split"], first["key"]


def _drawn(path: Path, seed: int, dataset: str | None, names: set[str]) -> Iterator[tuple[float, Trajectory]]:
    for trajectory in read_stored(str(path), on_bad_step="warn", verify_images=False):
        first = trajectory[0].record
        names.add(first["dataset"])
        if dataset in (None, first["dataset"]):
            yield uniform("gallery", seed, first["dataset"], first["trajectory"]), trajectory


def write_gallery(trajectories: Sequence[Trajectory], out: Path, title: str) -> int:
    """Writes the page, whole or not at all.

    Args:
        trajectories: What `sample_trajectories` gave.
        out: The file.
        title: What the page is of.

    Returns:
        Its size in bytes.

    Raises:
        DataError: No space left, or the file cannot be written.
    """
    return write_page(page(trajectories, title), out)
