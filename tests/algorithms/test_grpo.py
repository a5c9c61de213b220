"""GRPO's maths: values and gradients worked by hand, an independent NumPy reference, and EasyR1's formulas as written."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.testing import assert_close

from tracer1.algorithms.grpo import clip_fraction, clipped_surrogate, group_advantages, low_var_kl, token_mean

LOW, HIGH, DUAL = 0.2, 0.3, 3.0
SEEDS = range(4)


def surrogate_and_slope(ratio: float, advantage: float) -> tuple[float, float]:
    """The loss of one token and its derivative with respect to the token's log-prob."""
    logprob = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    old, advantages = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([advantage], dtype=torch.float64)
    loss = clipped_surrogate(logprob, old, advantages, LOW, HIGH, DUAL)
    loss.sum().backward()
    return loss.item(), logprob.grad.item()


# --- advantages --------------------------------------------------------------------------------------------------------


def test_group_advantages_are_z_scores_within_a_prompt():
    # prompt 1: mean .5, squared deviations 4 x .25 over 5 - 1, so std .5; prompt 2: all tied, so no signal (and no NaN)
    rewards = torch.tensor([1, 1, 0, 0, 0.5] + [0.7] * 5)
    assert_close(group_advantages(rewards, 5), torch.tensor([1, 1, -1, -1, 0] + [0.0] * 5), atol=1e-5, rtol=0)


def test_the_smallest_group_is_two():
    # mean 2, squared deviations 1 + 1 over 2 - 1, so std sqrt(2): -1/sqrt(2) and 1/sqrt(2)
    got = group_advantages(torch.tensor([1.0, 3.0]), 2)
    assert_close(got, torch.tensor([-(0.5**0.5), 0.5**0.5]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("value", [0.7, 0.1, 1 / 3, 1e-8, 1e6, 0.0, -0.15])
@pytest.mark.parametrize("size", [2, 3, 5, 7])
def test_equal_rewards_give_exactly_zero(value: float, size: int, dtype: torch.dtype):
    # the mean of five float32 0.7 is 0.69999999 on some machines: one bit over eps would be an advantage of 0.06
    assert (group_advantages(torch.full((2 * size,), value, dtype=dtype), size) == 0).all()


@pytest.mark.parametrize(("count", "size"), [(4, 1), (5, 2), (4, 0), (7, 5)])
def test_groups_that_do_not_divide_the_rewards_are_refused(count: int, size: int):
    with pytest.raises(ValueError, match=rf"groups of at least 2 rewards, got {count} rewards in groups of {size}"):
        group_advantages(torch.arange(count, dtype=torch.float32), size)


@given(
    rewards=st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=1, max_size=4),
    shift=st.floats(-5, 5),
)
@settings(max_examples=50, deadline=None)
def test_advantages_match_numpy_and_do_not_see_a_shift(rewards: list[list[float]], shift: float):
    groups = np.array(rewards)
    expected = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-6)
    expected = np.where((groups == groups[:, :1]).all(1, keepdims=True), 0, expected).ravel()
    got = group_advantages(torch.from_numpy(groups.ravel()), 4)
    assert_close(got, torch.from_numpy(expected), atol=1e-9, rtol=1e-9)
    # a shift rounds the rewards by up to 1e-15, which eps turns into at most 1e-9 of advantage
    assert_close(group_advantages(torch.from_numpy(groups.ravel() + shift), 4), got, atol=1e-7, rtol=0)


# --- surrogate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # d(-A rho)/d logp = -A rho where the ratio is free, and 0 where a bound took its place
        (1.5, 1, -1.3, 0.0),  # clipped above: max(-1.5, -1.3)
        (0.5, 1, -0.5, -0.5),  # free below: a good token that became rarer is pulled back, max(-.5, -.8)
        (0.5, -1, 0.8, 0.0),  # clipped below: max(.5, .8)
        (1.5, -1, 1.5, 1.5),  # free above: a bad token that became likelier is pushed down, max(1.5, 1.3)
        (4.0, -1, 3.0, 0.0),  # dual clip: min(4, 3)
        (1.0, 2, -2.0, -2.0),  # on policy: the plain policy gradient
        (1.0, -2, 2.0, 2.0),
        (2.9, -0.5, 1.45, 1.45),  # just under the dual clip
        (1.7, 0, 0.0, 0.0),  # a tied group
    ],
)
def test_clipped_surrogate(ratio: float, advantage: float, loss: float, slope: float):
    assert surrogate_and_slope(ratio, advantage) == pytest.approx((loss, slope), abs=1e-12)


def test_a_log_ratio_beyond_20_is_finite_in_float32():
    logprobs = torch.tensor([[0.0, 0.0, -90.0, -90.0]], requires_grad=True)
    old = torch.tensor([[-90.0, -90.0, 0.0, 0.0]])
    advantages = torch.tensor([1.0])
    loss = clipped_surrogate(logprobs, old, advantages, LOW, HIGH, DUAL)
    loss.sum().backward()
    # rho = e^20 is clipped to 1.3, rho = e^-20 = 2.06e-9 is free; beyond the clamp neither has a gradient
    assert_close(loss, torch.tensor([[-1.3, -1.3, -2.0611536e-9, -2.0611536e-9]]))
    assert (logprobs.grad == 0).all()


def numpy_surrogate(logprobs: np.ndarray, old: np.ndarray, advantages: np.ndarray) -> np.ndarray:
    """Token by token, in words: who may move, and how far."""
    loss = np.empty_like(logprobs)
    for i, j in np.ndindex(logprobs.shape):
        ratio, advantage = math.exp(min(20, max(-20, logprobs[i, j] - old[i, j]))), advantages[i]
        if advantage >= 0:
            loss[i, j] = -advantage * min(ratio, 1 + HIGH)
        else:
            loss[i, j] = -advantage * min(max(ratio, 1 - LOW), DUAL)
    return loss


@pytest.mark.parametrize("seed", SEEDS)
def test_surrogate_matches_numpy(seed: int):
    rng = np.random.default_rng(seed)
    logprobs, old = rng.normal(-2, 1, (6, 9)), rng.normal(-2, 1, (6, 9))
    advantages = rng.normal(size=6)
    got = clipped_surrogate(*map(torch.from_numpy, (logprobs, old, advantages)), LOW, HIGH, DUAL)
    assert_close(got, torch.from_numpy(numpy_surrogate(logprobs, old, advantages)), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_surrogate_gradients_match_finite_differences(seed: int):
    rng = np.random.default_rng(seed)
    # ratios well inside each stretch between the kinks at 0.8, 1.3 and 3
    log_ratio = torch.from_numpy(np.log(rng.choice([0.4, 0.6, 0.9, 1.0, 1.15, 1.6, 2.5, 3.6, 5.0], (4, 5))))
    old = torch.from_numpy(rng.normal(-2, 1, (4, 5)))
    advantages = torch.from_numpy(rng.choice([-1.7, -0.4, 0.3, 1.2], 4))
    logprobs = (old + log_ratio).requires_grad_()
    assert gradcheck(lambda x: clipped_surrogate(x, old, advantages, LOW, HIGH, DUAL), (logprobs,))


def test_clip_fraction_marks_ratios_outside_the_range():
    logprobs = torch.tensor([[0.79, 0.81, 1.0, 1.29, 1.31, 4.0]]).log()
    got = clip_fraction(logprobs, torch.zeros(1, 6), LOW, HIGH)
    assert got.tolist() == [[1, 0, 0, 0, 1, 1]]


# --- KL ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d", "value", "slope"),
    [
        # k = e^d - d - 1 with d = ref - logp, so dk/dlogp = 1 - e^d
        (0.0, 0.0, 0.0),
        (math.log(2), 1 - math.log(2), -1.0),  # 2 - ln 2 - 1; the reference likes the token more: push it up
        (-math.log(2), math.log(2) - 0.5, 0.5),  # 1/2 + ln 2 - 1
        (-4.0, math.exp(-4) + 3, 1 - math.exp(-4)),
        (3.0, 10.0, 0.0),  # e^3 - 4 = 16.1, held at 10
        (-15.0, 10.0, 0.0),  # 14, held at 10
        (500.0, 10.0, 0.0),  # d held at 20 first, so nothing overflows
    ],
)
def test_low_var_kl(d: float, value: float, slope: float):
    logprob = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
    kl = low_var_kl(logprob, torch.tensor([[d - 1.0]], dtype=torch.float64))
    kl.sum().backward()
    assert (kl.item(), logprob.grad.item()) == pytest.approx((value, slope), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_kl_matches_numpy_and_finite_differences(seed: int):
    rng = np.random.default_rng(seed)
    logprobs, ref = rng.normal(-2, 1, (4, 7)), rng.normal(-2, 1, (4, 7))
    d = np.clip(ref - logprobs, -20, 20)
    expected = np.clip(np.expm1(d) - d, -10, 10)
    x, fixed = torch.from_numpy(logprobs).requires_grad_(), torch.from_numpy(ref)
    assert_close(low_var_kl(x, fixed), torch.from_numpy(expected), atol=1e-12, rtol=1e-12)
    near = fixed + 0.9 * torch.tanh(x.detach() - fixed)  # away from the kink at k = 10
    assert gradcheck(lambda y: low_var_kl(y, fixed), (near.requires_grad_(),))


@given(d=st.floats(-40, 40))
def test_kl_is_never_negative(d: float):
    # float32 rounds e^d - d - 1 near 0; the largest error is a few units of the last place of 1
    assert low_var_kl(torch.tensor([[0.0]]), torch.tensor([[d]])).item() >= -2.4e-7
    assert low_var_kl(torch.zeros(1, 1).double(), torch.tensor([[d]]).double()).item() >= -4.5e-16


def test_the_estimate_averages_to_the_kl_divergence():
    # policy (.5, .25, .25), reference (.25, .5, .25): KL = .5 ln 2 + .25 ln(1/2) = .25 ln 2, and E_policy[k3] is just that
    policy, ref = torch.tensor([0.5, 0.25, 0.25]).double(), torch.tensor([0.25, 0.5, 0.25]).double()
    k = low_var_kl(policy.log()[None], ref.log()[None])[0]
    assert (policy * k).sum().item() == pytest.approx(0.25 * math.log(2))


# --- token mean --------------------------------------------------------------------------------------------------------


def test_token_mean_counts_tokens_not_responses():
    # one update of 4 tokens in two micro-batches: (1 + 2 + 3) and (10); the mean over tokens is 16 / 4 = 4, while the mean
    # of the micro-batches' means would be (2 + 10) / 2 = 6
    first = token_mean(torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3), update_tokens=4, parts=2)
    second = token_mean(torch.tensor([[10.0, 99.0, 99.0]]), torch.tensor([[1.0, 0, 0]]), update_tokens=4, parts=2)
    assert (first.item(), second.item()) == (3.0, 5.0)  # 6 x 2 / 4 and 10 x 2 / 4
    assert (first + second).item() / 2 == 4.0  # what the trainer's average over the parts makes of them


def test_padding_has_no_say_even_when_it_is_not_finite():
    values = torch.tensor([[1.0, math.nan, math.inf]], requires_grad=True)
    mean = token_mean(values, torch.tensor([[1.0, 0, 0]]), update_tokens=2)
    mean.backward()
    assert mean.item() == 0.5
    assert values.grad.tolist() == [[0.5, 0, 0]]


# --- EasyR1 ------------------------------------------------------------------------------------------------------------


def easyr1_advantages(scores: np.ndarray) -> np.ndarray:
    """(prompts, n) -> (prompts, n): A = (s - mean) / (std + 1e-6), the std unbiased."""
    return (scores - scores.mean(1, keepdims=True)) / (scores.std(1, ddof=1, keepdims=True) + 1e-6)


def easyr1_loss(
    logprobs: np.ndarray, old: np.ndarray, ref: np.ndarray, advantages: np.ndarray, mask: np.ndarray
) -> tuple[float, float]:
    """One micro-batch's token mean of the policy loss and of the KL. EasyR1 clips the logarithm of the ratio, not the ratio."""
    log_ratio = logprobs - old
    ratio = np.exp(np.clip(log_ratio, -20, 20))
    clipped = np.exp(np.clip(log_ratio, np.log(1 - LOW), np.log(1 + HIGH)))
    advantages = advantages[:, None]
    higher = np.maximum(-advantages * ratio, -advantages * clipped)
    loss = np.where(advantages < 0, np.minimum(higher, -advantages * DUAL), higher)
    d = np.clip(ref - logprobs, -20, 20)
    kl = np.clip(np.exp(d) - d - 1, -10, 10)
    return (loss * mask).sum() / mask.sum(), (kl * mask).sum() / mask.sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_one_update_equals_easyr1s(seed: int):
    # 4 prompts x 5 rollouts in 2 micro-batches on each of 2 ranks. EasyR1: micro_loss x micro_tokens x world / tokens of
    # the update, gradients summed over micro-batches and averaged over ranks. Here: one share each, averaged by the trainer.
    rng = np.random.default_rng(seed)
    shape, micro_batches, world, kl_coef = (20, 11), 4, 2, 0.01
    logprobs, old, ref = (rng.normal(-2, 0.7, shape) for _ in range(3))
    mask = (np.arange(11) < rng.integers(1, 12, 20)[:, None]).astype(float)
    scores = rng.random((4, 5))
    advantages, ours = easyr1_advantages(scores).ravel(), group_advantages(torch.from_numpy(scores.ravel()), 5)
    assert_close(ours, torch.from_numpy(advantages), atol=1e-12, rtol=1e-12)

    theirs, update = 0.0, 0.0
    for rows in np.split(np.arange(20), micro_batches):
        loss, kl = easyr1_loss(logprobs[rows], old[rows], ref[rows], advantages[rows], mask[rows])
        theirs += (loss + kl_coef * kl) * mask[rows].sum() * world / mask.sum() / world
        lp, lp_old, lp_ref, m = (torch.from_numpy(x[rows]) for x in (logprobs, old, ref, mask))
        values = clipped_surrogate(lp, lp_old, ours[rows], LOW, HIGH, DUAL) + kl_coef * low_var_kl(lp, lp_ref)
        update += token_mean(values, m, int(mask.sum()), parts=micro_batches).item() / micro_batches
    assert update == pytest.approx(theirs, rel=1e-12)
