"""Whole groups on their way between ranks, so that all have about as much to train on: an update ends with its slowest rank.

Groups change places within their update alone, so every update is made of the groups that it would be made of anyway: its gradient
differs by the order of a sum. It knows groups by their costs, and no tensor.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch.distributed as dist

from tracer1.training.groups import Group
from tracer1.training.ranks import gathered, rank

TOLERANCE = 0.02  # of the mean load: a smaller gain is not worth a group's way

Place = tuple[int, int]  # rank, position


def padded_tokens(rows: Sequence[Group]) -> int:
    """What the rows of one group cost in one pass: every prompt is read once, every response as far as the longest goes."""
    lengths = [len(r.response.token_ids) for row in rows for r in row.rollouts if not r.masked]
    return sum(len(row.prompt.token_ids) for row in rows) + max(lengths, default=0) * sum(len(r.rollouts) for r in rows)


def balance(groups: Sequence[Any], costs: Sequence[float], per_update: int) -> tuple[list[Any], dict[str, float]]:
    """This rank's groups, some of them swapped for other ranks'. Every rank must call it, with equally many.

    Args:
        groups: Whole ones; what leaves is pickled.
        costs: Of each, 0 or more.
        per_update: How many of them one update takes.

    Returns:
        As many groups as there were, in each update the dearest first, and the figures.
    """
    everyone = gathered(list(costs))
    wanted: list[list[Place]] = [[] for _ in everyone]
    for start in range(0, len(groups), per_update):
        for places, own in zip(wanted, swapped([c[start : start + per_update] for c in everyone], start), strict=True):
            places += own
    figures = {
        "balance/before": _imbalance(everyone, per_update),
        "balance/after": _imbalance([[everyone[r][i] for r, i in own] for own in wanted], per_update),
    }
    return _exchange(groups, wanted), figures


def swapped(costs: Sequence[Sequence[float]], start: int = 0) -> list[list[Place]]:
    """Who gets which groups of one update: the heaviest and the lightest rank swap a pair as long as that helps both.

    Swaps rather than a deal from scratch: a group with its pictures weighs megabytes, and most stay where they are. The dearest come
    first, so that the micro-batches that ranks work through side by side are alike: where weights are gathered for each of them
    (ZeRO-3, FSDP2), every one ends with its slowest rank.

    Args:
        costs: Of each rank's groups, equally many.
        start: The position of the first group.

    Returns:
        For each rank, where its groups are now.
    """
    held = [[(cost, (r, start + i)) for i, cost in enumerate(own)] for r, own in enumerate(costs)]
    loads = [sum(own) for own in costs]
    least_gain = TOLERANCE * sum(loads) / len(loads)
    for _ in range(sum(map(len, held))):
        heavy, light = max(range(len(loads)), key=loads.__getitem__), min(range(len(loads)), key=loads.__getitem__)
        gap = loads[heavy] - loads[light]
        pairs = [
            (abs(gap - 2 * (a[0] - b[0])), i, j) for i, a in enumerate(held[heavy]) for j, b in enumerate(held[light])
        ]
        left, i, j = min(pairs)
        if (gap - left) / 2 <= least_gain:
            break
        moved = held[heavy][i][0] - held[light][j][0]
        held[heavy][i], held[light][j] = held[light][j], held[heavy][i]
        loads[heavy], loads[light] = loads[heavy] - moved, loads[light] + moved
    return [[place for _, place in sorted(own, key=lambda one: (-one[0], one[1]))] for own in held]


def _imbalance(costs: Sequence[Sequence[float]], per_update: int) -> float:
    """What the heaviest ranks of all updates have to do, over the mean rank."""
    loads = [[sum(own[i : i + per_update]) for own in costs] for i in range(0, len(costs[0]), per_update)]
    total = sum(map(sum, loads))
    return len(costs) * sum(map(max, loads)) / total if total else 1.0


def _exchange(groups: Sequence[Any], wanted: Sequence[Sequence[Place]]) -> list[Any]:
    """Pair by pair, all ranks in the same order, so that nobody waits for somebody who waits."""
    own = rank()
    here = {(own, i): group for i, group in enumerate(groups)}
    for one, other in combinations(range(len(wanted)), 2):
        for sender, taker in ((one, other), (other, one)):
            moving = [place for place in wanted[taker] if place[0] == sender]
            if moving and own == sender:
                dist.send_object_list([here[place] for place in moving], taker)
            elif moving and own == taker:
                came: list[Any] = [None] * len(moving)
                dist.recv_object_list(came, sender)
                here |= dict(zip(moving, came, strict=True))
    return [here[place] for place in wanted[own]]
