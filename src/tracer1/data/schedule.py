"""What one rank reads of an epoch, as blocks of shards; and what is left of an epoch, dealt to another number of ranks.

A block is all that a stream needs to find its steps again, in plain numbers. It knows nothing about shards' contents or workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import zip_longest
from typing import Any

from tracer1.data.loading import StepSet
from tracer1.data.ordering import permutation, rank_shards

Share = tuple[int, int]  # a rank and the number of ranks
Unit = tuple[int, int, int]  # a shard, and the share of it that is read: rank and ranks
Plan = dict[int, list["Block"]]  # by epoch


@dataclass(frozen=True, slots=True)
class Block:
    """Steps that are shuffled together."""

    units: tuple[Unit, ...]
    key: tuple[int, ...]  # of the shuffle
    cuts: tuple[Share, ...] = ()  # of the shuffled steps only [start::step] is taken, one cut after the other

    def order(self, source: StepSet, size: int) -> list[int]:
        """Which of the block's `size` steps come, in order."""
        # without the rank: when ranks share shards, their steps differ anyway
        order = permutation(size, source.name, source.seed, *self.key)
        for start, step in self.cuts:
            order = order[start::step]
        return order

    @classmethod
    def of(cls, saved: Sequence[Any]) -> "Block":
        """From what a checkpoint holds."""
        units, key, cuts = saved
        return cls(tuple(map(tuple, units)), tuple(key), tuple(map(tuple, cuts)))


def usual(source: StepSet, share: Share, epoch: int) -> list[Block]:
    """What one rank reads in an epoch that it begins."""
    shards = rank_shards(len(source.urls), source.name, source.seed, epoch, share)
    return _grouped([(shard, *share) for shard in shards], source.shuffle_shards, epoch)


def redistributed(source: StepSet, saved: Sequence[Mapping[str, Any]], share: Share) -> Plan:
    """What is left of the epochs that some ranks have begun, as the plan of one of another number of ranks.

    Blocks that are half read are dealt step by step, all others shard by shard: every step comes once.

    Args:
        source: The data set.
        saved: Where each of the former ranks stood, in their order: `epoch`, `block`, `offset`, and `plan` where it has one.
        share: The new rank and how many there are.
    """
    epochs = range(min(place["epoch"] for place in saved), max(place["epoch"] for place in saved) + 1)
    return {epoch: _dealt(source, _left(source, saved, epoch), share, epoch) for epoch in epochs}


def saved_plan(plan: Plan) -> dict[str, list[Any]]:
    """A plan for a checkpoint."""
    return {str(epoch): [astuple(block) for block in blocks] for epoch, blocks in plan.items()}


def read_plan(saved: Mapping[str, Sequence[Any]]) -> Plan:
    """What `saved_plan` gave."""
    return {int(epoch): [Block.of(block) for block in blocks] for epoch, blocks in saved.items()}


def _left(source: StepSet, saved: Sequence[Mapping[str, Any]], epoch: int) -> list[list[Block]]:
    """Of each former rank: the blocks that it would still have read in an epoch, the first one cut to what is left of it."""
    left = []
    for rank, place in enumerate(saved):
        if place["epoch"] > epoch:
            continue
        plan = read_plan(place.get("plan", {}))
        blocks = plan[epoch] if epoch in plan else usual(source, (rank, len(saved)), epoch)
        if place["epoch"] == epoch:
            blocks = blocks[place["block"] :]
            if blocks and place["offset"]:
                first = blocks[0]
                blocks = [Block(first.units, first.key, (*first.cuts, (place["offset"], 1))), *blocks[1:]]
        left.append(blocks)
    return left


def _dealt(source: StepSet, left: Sequence[Sequence[Block]], share: Share, epoch: int) -> list[Block]:
    halves = [block for blocks in left for block in blocks if block.cuts]
    whole = [[unit for block in blocks if not block.cuts for unit in block.units] for blocks in left]
    units = [unit for row in zip_longest(*whole) for unit in row if unit is not None]  # the order of the epoch
    mine = _grouped(units[share[0] :: share[1]], source.shuffle_shards, epoch, share[1])
    return [Block(block.units, block.key, (*block.cuts, share)) for block in halves] + mine


def _grouped(units: Sequence[Unit], size: int, epoch: int, *more: int) -> list[Block]:
    starts = range(0, len(units), size)
    return [Block(tuple(units[s : s + size]), (epoch, number + 1, *more)) for number, s in enumerate(starts)]
