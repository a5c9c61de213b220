"""Which step comes when: pure functions of the seed, the epoch and names, so that any process finds the same order.

It knows nothing about shards' contents, files, workers or torch.
"""

import hashlib
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np


def uniform(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts only: the same on every machine and in every process."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def permutation(size: int, name: str, *numbers: int) -> list[int]:
    """A permutation of `range(size)` that depends on the name and the non-negative numbers only."""
    words = np.random.SeedSequence([zlib.crc32(name.encode()), *numbers])
    return np.random.Generator(np.random.PCG64(words)).permutation(size).tolist()


def held_out(dataset: str, trajectory: str, fraction: float) -> bool:
    """Whether a trajectory belongs to validation. It does not depend on the seed, and a larger fraction only adds more."""
    return uniform("held out", dataset, trajectory) < fraction


def pick(weights: Sequence[float], *parts: object) -> int:
    """An index drawn in proportion to the weights, as a function of the parts only."""
    sums = list(accumulate(weights))
    index = bisect_right(sums, uniform("pick", *parts) * sums[-1])
    return min(index, max(i for i, weight in enumerate(weights) if weight > 0))  # rounding may reach the last sum


def rank_shards(count: int, name: str, seed: int, epoch: int, share: tuple[int, int]) -> list[int]:
    """The shards that one rank reads in an epoch, in order.

    Args:
        count: Shards of the data set.
        name: The data set.
        seed: Of the run.
        epoch: From 0.
        share: The rank and the number of ranks. With fewer shards than ranks every rank reads them all, and the
            trajectories are split instead (`rank_takes`).

    Returns:
        Indices into the list of shards; those of all ranks together are each shard once (or, see above, all for each).
    """
    order = permutation(count, name, seed, epoch)
    rank, ranks = share
    return order if count < ranks else order[rank::ranks]


def rank_takes(shard: int, ordinal: int, count: int, share: tuple[int, int]) -> bool:
    """Whether a rank takes the `ordinal`-th trajectory of a shard, given that it reads this shard out of `count`.

    The shards start dealing at ranks spread evenly, so that shards with few trajectories do not all serve the same ranks.
    """
    rank, ranks = share
    return count >= ranks or (shard * ranks // count + ordinal) % ranks == rank
