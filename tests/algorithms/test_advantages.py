"""Advantages beside GRPO's: values worked by hand, NumPy in float64, and what must hold whatever the rewards are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from tracer1.algorithms.advantages import (
    centred_advantages,
    centred_round_advantages,
    leave_one_out_advantages,
    overlong_penalty,
    round_advantages,
)
from tracer1.algorithms.objective import ADVANTAGES, Objective

# group 1: 1, 0, 0.5 (mean .5); group 2: 0, 0, 0.75 (mean .25); all six: mean 2.25 / 6 = .375
REWARDS = torch.tensor([1, 0, 0.5, 0, 0, 0.75], dtype=torch.float64)


def test_dr_grpo_only_takes_the_mean_off():
    assert centred_advantages(REWARDS, 3).tolist() == [0.5, -0.5, 0.0, -0.25, -0.25, 0.5]


def test_rloo_compares_with_the_others():
    # 1 - (0 + .5)/2, 0 - (1 + .5)/2, .5 - (1 + 0)/2; 0 - (0 + .75)/2 twice, .75 - 0
    assert leave_one_out_advantages(REWARDS, 3).tolist() == [0.75, -0.75, 0.0, -0.375, -0.375, 0.75]


def test_reinforce_pp_normalises_over_the_round():
    # squares 1 + .25 + .5625 = 1.8125, /6 - .375^2 = 0.302083 - 0.140625 = 0.161458, std 0.401819
    std = (1.8125 / 6 - 0.375**2) ** 0.5
    expected = [(r - 0.375) / std for r in REWARDS.tolist()]
    assert round_advantages(REWARDS, 3).tolist() == pytest.approx(expected, rel=1e-5)
    assert expected[0] == pytest.approx(1.55543, abs=1e-5)


def test_reinforce_pp_with_baseline_takes_the_groups_mean_off_first():
    # differences .5 -.5 0 -.25 -.25 .5: mean 0, squares .25 x 3 + .0625 x 2 = .875, std sqrt(.875 / 6) = 0.381881
    expected = [d / 0.3818813 for d in (0.5, -0.5, 0, -0.25, -0.25, 0.5)]
    assert centred_round_advantages(REWARDS, 3).tolist() == pytest.approx(expected, rel=1e-5)


groups_of_4 = st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=1, max_size=4)


def numpy_advantages(name: str, groups: np.ndarray) -> np.ndarray:
    """(prompts, n) -> the same, written from the definitions."""
    tied = (groups == groups[:, :1]).all(1, keepdims=True)
    centred = np.where(tied, 0, groups - groups.mean(1, keepdims=True))
    if name == "z_score":
        return np.where(tied, 0, centred / (groups.std(1, ddof=1, keepdims=True) + 1e-6))
    if name == "centred":
        return centred
    if name == "leave_one_out":
        others = np.stack([np.delete(groups, i, axis=1).mean(1) for i in range(groups.shape[1])], axis=1)
        return np.where(tied, 0, groups - others)
    whole = groups if name == "round_z_score" else centred
    return (whole - whole.mean()) / (whole.std() + 1e-6) if (whole != whole[0, 0]).any() else np.zeros_like(whole)


@pytest.mark.parametrize("name", ADVANTAGES)
@given(rewards=groups_of_4)
@settings(max_examples=40, deadline=None)
def test_they_match_numpy(name: str, rewards: list[list[float]]):
    groups = np.array(rewards)
    got = ADVANTAGES[name](torch.from_numpy(groups.ravel()), 4)
    assert_close(got, torch.from_numpy(numpy_advantages(name, groups).ravel()), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ADVANTAGES)
@given(rewards=groups_of_4, shift=st.floats(-5, 5))
@settings(max_examples=40, deadline=None)
def test_a_shift_of_all_rewards_changes_nothing_and_the_sum_is_zero(
    name: str, rewards: list[list[float]], shift: float
):
    values = torch.tensor(rewards, dtype=torch.float64).flatten()
    got = ADVANTAGES[name](values, 4)
    assert got.isfinite().all()
    assert abs(float(got.sum())) < 1e-6
    # eps turns a rounding of 1e-15 into at most 1e-9
    assert_close(ADVANTAGES[name](values + shift, 4), got, atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", ["z_score", "centred", "leave_one_out"])
@given(rewards=groups_of_4)
@settings(max_examples=30, deadline=None)
def test_a_group_does_not_see_the_others(name: str, rewards: list[list[float]]):
    """What lets every rank work on its own."""
    values = torch.tensor(rewards, dtype=torch.float64)
    apart = torch.cat([ADVANTAGES[name](group, 4) for group in values])
    assert_close(ADVANTAGES[name](values.flatten(), 4), apart, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize("value", [0.7, 0.1, 1 / 3, 1e-8, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rewards_give_exactly_zero(name: str, value: float, dtype: torch.dtype):
    assert (ADVANTAGES[name](torch.full((9,), value, dtype=dtype), 3) == 0).all()


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize(("count", "size"), [(4, 1), (5, 2), (4, 0)])
def test_groups_that_do_not_divide_the_rewards_are_refused(name: str, count: int, size: int):
    with pytest.raises(ValueError, match="groups of at least 2 rewards"):
        ADVANTAGES[name](torch.arange(count, dtype=torch.float32), size)


def test_leave_one_out_is_the_centred_one_stretched():
    # r - (S - r)/(n - 1) = n/(n - 1) (r - S/n)
    assert_close(leave_one_out_advantages(REWARDS, 3), centred_advantages(REWARDS, 3) * 1.5)


def test_the_overlong_penalty_falls_over_the_buffer():
    lengths = torch.tensor([0, 80, 85, 90, 99, 100, 200], dtype=torch.float64)
    got = overlong_penalty(lengths, max_tokens=100, buffer=20)
    assert_close(got, torch.tensor([0, 0, -0.25, -0.5, -0.95, -1, -1], dtype=torch.float64))


@given(st.integers(1, 100), st.integers(0, 300), st.integers(0, 300))
def test_the_longer_the_worse(buffer: int, one: int, other: int):
    shorter, longer = overlong_penalty(torch.tensor(sorted([one, other]), dtype=torch.float64), 100, buffer).tolist()
    assert -1 <= longer <= shorter <= 0


# --- masked responses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ADVANTAGES)
@settings(max_examples=30, deadline=None)
@given(groups=groups_of_4, hidden=st.sets(st.integers(0, 15)))
def test_masked_responses_are_as_if_they_had_never_been_sampled(name: str, groups: list[list[float]], hidden: set[int]):
    """NumPy on each group without them; a group of one is compared with nobody, but takes part in a round's z-scores."""
    rewards = np.array(groups, dtype=np.float64).flatten()
    rewards[[i for i in hidden if i < len(rewards)]] = np.nan
    found = Objective(advantages=name, average="tokens").response_advantages(torch.tensor(rewards), 4).numpy()
    kept = [group[~np.isnan(group)] for group in rewards.reshape(-1, 4)]
    if name.endswith("round_z_score"):
        own = [g if name == "round_z_score" else np.where(np.ptp(g) == 0, 0, g - g.mean()) for g in kept if len(g)]
        flat = np.concatenate(own) if own else np.empty(0)
        expected = (
            np.zeros_like(flat) if not len(flat) or np.ptp(flat) == 0 else (flat - flat.mean()) / (flat.std() + 1e-6)
        )
    else:
        parts = [numpy_advantages(name, g[None])[0] if len(g) > 1 else np.zeros(len(g)) for g in kept]
        expected = np.concatenate(parts)
    masked = np.isnan(rewards)
    assert (found[masked] == 0).all()
    np.testing.assert_allclose(found[~masked], expected, rtol=1e-6, atol=1e-9)


def test_a_masked_response_by_hand():
    # 1, 0 and a masked one: mean .5, unbiased std sqrt(.5) = .70711; the other group is alone with itself
    rewards = torch.tensor([1, torch.nan, 0, torch.nan, 0.75, torch.nan], dtype=torch.float64)
    found = Objective().response_advantages(rewards, 3).tolist()
    assert found == pytest.approx([0.70711, 0, -0.70711, 0, 0, 0], abs=1e-5)
