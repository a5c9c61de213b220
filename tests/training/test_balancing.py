"""Whole groups shared out over ranks by what they cost: who gets which, and that they arrive."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from tracer1.training.balancing import TOLERANCE, balance, padded_tokens, swapped

COSTS = [[9.0, 8.0, 1.0, 1.0], [2.0, 3.0, 1.0, 1.0], [4.0, 4.0, 1.0, 9.0]]
PER_UPDATE = 2


def test_a_pair_is_swapped_where_that_helps_both():
    """17 and 5: with 9 for 3 they are 11 and 11."""
    assert swapped([[9, 8], [2, 3]]) == [[(0, 1), (1, 1)], [(0, 0), (1, 0)]]


def test_the_dearest_come_first_and_equal_ones_keep_their_order():
    assert swapped([[1, 5, 1]], start=6) == [[(0, 7), (0, 6), (0, 8)]]


def test_a_gain_that_is_not_worth_the_way_is_left():
    assert swapped([[100, 100], [99, 98]]) == [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]


@st.composite
def ranks_costs(draw: st.DrawFn) -> list[list[int]]:
    each = draw(st.integers(1, 6))
    own = st.lists(st.integers(0, 5000), min_size=each, max_size=each)
    return draw(st.lists(own, min_size=1, max_size=5))


@given(ranks_costs())
def test_nothing_is_lost_and_nobody_gets_more_than_the_heaviest_had(costs: list[list[int]]):
    wanted = swapped(costs)
    assert sorted(p for own in wanted for p in own) == [(r, i) for r, own in enumerate(costs) for i in range(len(own))]
    assert {len(own) for own in wanted} == {len(costs[0])}
    loads = [sum(costs[r][i] for r, i in own) for own in wanted]
    assert max(loads) <= max(map(sum, costs))
    # what is left is less than a swap could mend, or than is worth one
    heavy, light = loads.index(max(loads)), loads.index(min(loads))
    gap = loads[heavy] - loads[light]
    differences = [costs[a][i] - costs[b][j] for a, i in wanted[heavy] for b, j in wanted[light]]
    gains = [(gap - abs(gap - 2 * d)) / 2 for d in differences]
    assert max(gains) <= TOLERANCE * sum(loads) / len(loads)


def row(prompt: int, *responses: int, masked: Sequence[int] = ()) -> SimpleNamespace:
    rollouts = [
        SimpleNamespace(response=SimpleNamespace(token_ids=range(length)), masked=i in masked)
        for i, length in enumerate(responses)
    ]
    return SimpleNamespace(prompt=SimpleNamespace(token_ids=range(prompt)), rollouts=rollouts)


@pytest.mark.parametrize(
    ("rows", "cost"),
    [
        ([row(100, 5, 20, 10)], 100 + 3 * 20),
        ([row(100, 5, 20, 10, masked=[1])], 100 + 3 * 10),  # a masked rollout keeps its row, without tokens
        ([row(100, 5), row(50, 7)], 150 + 2 * 7),  # turns of one group's episodes
        ([], 0),  # all its episodes met faults
    ],
)
def test_what_a_group_costs(rows: list[SimpleNamespace], cost: int):
    assert padded_tokens(rows) == cost


def one_rank(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(COSTS))
    own = [{"from": (rank, i), "weighs": bytes(1000)} for i in range(len(COSTS[rank]))]
    groups, figures = balance(own, COSTS[rank], PER_UPDATE)
    (folder / f"{rank}").write_text(repr([group["from"] for group in groups]) + repr(figures))


@pytest.mark.slow
def test_groups_arrive_at_three_ranks(tmp_path: Path):
    """The first update, 17, 5 and 8: 9 for 3 makes 11, 11 and 8. The second, 2, 2 and 10: nothing helps where one group is 9."""
    mp.spawn(one_rank, (tmp_path,), nprocs=3)
    said = [(tmp_path / f"{rank}").read_text() for rank in range(3)]
    first = [swapped([own[:2] for own in COSTS]), swapped([own[2:] for own in COSTS], 2)]
    figures = {"balance/before": 3 * (17 + 10) / (30 + 14), "balance/after": 3 * (11 + 10) / (30 + 14)}
    assert said == [repr(first[0][rank] + first[1][rank]) + repr(figures) for rank in range(3)]
    assert first[0] == [[(0, 1), (1, 1)], [(0, 0), (1, 0)], [(2, 0), (2, 1)]]
