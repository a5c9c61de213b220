"""GSPO's ratio of a response, truncated importance weights, and KL kinds: values and gradients by hand, and NumPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.testing import assert_close

from tracer1.algorithms.grpo import clipped_surrogate
from tracer1.algorithms.kl import k1, k2, low_var_kl
from tracer1.algorithms.surrogates import sequence_log_ratio, sequence_surrogate, truncated_importance

SEEDS = range(3)


def batch(seed: int, scale: float = 1.0) -> tuple[Tensor, ...]:
    """Log-probs, old, advantages, mask: 5 responses of 0 to 7 tokens, float64."""
    rng = np.random.default_rng(seed)
    logprobs = rng.normal(-2, 1, (5, 7))
    mask = (np.arange(7) < np.array([7, 1, 4, 0, 6])[:, None]).astype(float)
    arrays = logprobs, logprobs + rng.normal(0, scale, (5, 7)), rng.normal(size=5), mask
    return tuple(map(torch.from_numpy, arrays))


# --- GSPO --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("advantage", "loss", "slope"),
    [
        # token ratios 2 and 8: geometric mean 4, while their mean would be 5; each token has half of -A s
        (1.0, -1.3, 0.0),  # clipped above at 1.3
        (-1.0, 3.0, 0.0),  # dual clip at 3
        (0.0, 0.0, 0.0),
    ],
)
def test_a_response_is_clipped_as_a_whole(advantage: float, loss: float, slope: float):
    assert of_two_tokens([2.0, 8.0], advantage) == (pytest.approx([loss] * 2), pytest.approx([slope] * 2))


@pytest.mark.parametrize(("advantage", "sign"), [(1.0, -1), (-2.0, 2)])
def test_a_token_that_alone_would_be_clipped_is_free_when_its_response_is(advantage: float, sign: float):
    # ratios 4 and 1/4: geometric mean 1. Each token has the loss -A; averaged over the response, each slope is -A s / 2
    losses, slopes = of_two_tokens([4.0, 0.25], advantage)
    assert losses == pytest.approx([sign] * 2)
    assert slopes == pytest.approx([sign / 2] * 2)


def of_two_tokens(ratios: list[float], advantage: float) -> tuple[list[float], list[float]]:
    """Losses, and the slopes of the response's mean loss, of two tokens; the third is padding."""
    logprobs = torch.tensor([[*map(math.log, ratios), 5.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    advantages = torch.tensor([advantage], dtype=torch.float64)
    losses = sequence_surrogate(
        logprobs, torch.zeros_like(logprobs).detach(), advantages, mask, low=0.2, high=0.3, dual=3.0
    )
    (losses * mask).sum().div(2).backward()
    assert logprobs.grad[0, 2] == 0
    return losses[0, :2].tolist(), logprobs.grad[0, :2].tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_gspo_matches_numpy_and_finite_differences(seed: int):
    logprobs, old, advantages, mask = batch(seed, scale=0.05)
    low, high = 0.04, 0.05
    expected = []
    for x, y, a, m in zip(*(t.numpy() for t in (logprobs, old, advantages, mask)), strict=True):
        s = np.exp((m * (x - y)).sum() / max(1, m.sum()))
        expected.append(max(-a * s, -a * np.clip(s, 1 - low, 1 + high)))
    settings = {"low": low, "high": high, "dual": 1e30}
    got = sequence_surrogate(logprobs, old, advantages, mask, **settings)
    assert_close(got, torch.tensor(expected, dtype=torch.float64)[:, None].expand(5, 7))
    logprobs.requires_grad_()
    assert gradcheck(lambda x: sequence_surrogate(x, old, advantages, mask, **settings) * mask, (logprobs,))


def test_of_one_token_gspo_is_grpo():
    logprobs, old, advantages, _ = batch(0)
    one = torch.zeros(5, 7, dtype=torch.float64)
    one[:, 0] = 1
    got = sequence_surrogate(logprobs, old, advantages, one, low=0.2, high=0.3, dual=3.0)
    assert_close(got[:, 0], clipped_surrogate(logprobs, old, advantages, 0.2, 0.3, 3.0)[:, 0])


def test_padding_that_is_not_finite_has_no_say_in_a_responses_ratio():
    logprobs = torch.tensor([[-1.0, math.nan, -math.inf]], requires_grad=True)
    mask = torch.tensor([[1.0, 0, 0]])
    log_ratio = sequence_log_ratio(logprobs, torch.tensor([[-1.5, 0.0, 0.0]]), mask)
    log_ratio.sum().backward()
    assert log_ratio.item() == 0.5
    assert logprobs.grad.tolist() == [[1, 0, 0]]


def test_an_empty_response_has_the_ratio_one():
    assert sequence_log_ratio(torch.ones(1, 2), torch.zeros(1, 2), torch.zeros(1, 2)).item() == 0


# --- truncated importance weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        # value and slope alike: -A min(rho, 2)
        (1.0, 1.0, -1.0),
        (1.5, 1.0, -1.5),
        (0.5, -3.0, 1.5),
        (8.0, 1.0, -2.0),  # cut down to the cap, and still pulled
        (8.0, -1.0, 2.0),
        (3.0, 0.0, 0.0),
    ],
)
def test_truncated_importance(ratio: float, advantage: float, loss: float):
    logprob = torch.tensor([[math.log(ratio) - 2]], dtype=torch.float64, requires_grad=True)
    sampled, advantages = torch.full((1, 1), -2.0, dtype=torch.float64), torch.tensor([advantage], dtype=torch.float64)
    value = truncated_importance(logprob, sampled, advantages, cap=2.0)
    value.sum().backward()
    assert (value.item(), logprob.grad.item()) == (pytest.approx(loss), pytest.approx(loss))


@pytest.mark.parametrize("seed", SEEDS)
def test_truncated_importance_matches_numpy(seed: int):
    logprobs, sampled, advantages, _ = batch(seed)
    logprobs.requires_grad_()
    loss = truncated_importance(logprobs, sampled, advantages, cap=1.2)
    loss.sum().backward()
    x, y, a = (t.detach().numpy() for t in (logprobs, sampled, advantages))
    expected = torch.from_numpy(-a[:, None] * np.minimum(np.exp(x - y), 1.2))
    assert_close(loss.detach(), expected)
    assert_close(logprobs.grad, expected)  # grad (min(rho, cap) grad log p): the weight itself is a constant


def test_a_weight_beyond_e20_is_finite_in_float32():
    logprobs = torch.tensor([[0.0, -90.0]], requires_grad=True)
    loss = truncated_importance(logprobs, torch.tensor([[-90.0, 0.0]]), torch.tensor([1.0]), cap=2.0)
    loss.sum().backward()
    assert_close(loss.detach(), torch.tensor([[-2.0, -2.0611536e-9]]))
    assert_close(logprobs.grad, loss.detach())


# --- KL ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "d", "value", "slope"),
    [
        # d = ref - logp; k1 = -d, slope 1; k2 = d^2/2, slope -d; k3 = e^d - d - 1, slope 1 - e^d
        (k1, 0.5, -0.5, 1.0),
        (k1, -3.0, 3.0, 1.0),
        (k1, 50.0, -20.0, 0.0),
        (k2, 0.5, 0.125, -0.5),
        (k2, -3.0, 4.5, 3.0),
        (k2, -50.0, 200.0, 0.0),
        (low_var_kl, math.log(2), 1 - math.log(2), -1.0),
    ],
)
def test_kl_kinds(kind, d: float, value: float, slope: float):
    logprob = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
    kl = kind(logprob, torch.tensor([[d - 1.0]], dtype=torch.float64))
    kl.sum().backward()
    assert (kl.item(), logprob.grad.item()) == (pytest.approx(value), pytest.approx(slope))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("kind", "formula"), [(k1, lambda d: -d), (k2, lambda d: d**2 / 2)])
def test_kl_kinds_match_numpy(kind, formula, seed: int):
    logprobs, ref, *_ = batch(seed)
    assert_close(kind(logprobs, ref), torch.from_numpy(formula(ref.numpy() - logprobs.numpy())))


@given(st.floats(-30, 30))
def test_k2_and_k3_are_never_negative(d: float):
    for kind in (k2, low_var_kl):
        assert kind(torch.zeros(1, 1).double(), torch.tensor([[d]]).double()).item() >= -4.5e-16


def test_what_the_kinds_are_in_expectation():
    """Policy (.5, .25, .25), reference (.25, .5, .25), KL = .25 ln 2: k1 and k3 average to it, k2 to nearly."""
    logits = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().requires_grad_()
    ref = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64).log()[None]
    logprobs = logits.log_softmax(0)[None]
    policy = logprobs.detach().exp()
    kl = 0.25 * math.log(2)
    assert (policy * k1(logprobs, ref)).sum().item() == pytest.approx(kl)
    assert (policy * low_var_kl(logprobs, ref)).sum().item() == pytest.approx(kl)
    assert (policy * k2(logprobs, ref)).sum().item() == pytest.approx(0.375 * math.log(2) ** 2)
    # gradients of sampled tokens, in expectation: of k1 nothing is left, k2's is that of the KL itself
    [of_k1] = torch.autograd.grad((policy * k1(logprobs, ref)).sum(), logits, retain_graph=True)
    [of_k2] = torch.autograd.grad((policy * k2(logprobs, ref)).sum(), logits, retain_graph=True)
    [of_kl] = torch.autograd.grad((logprobs.exp() * (logprobs - ref)).sum(), logits)
    assert of_k1.abs().max() < 1e-15
    assert_close(of_k2, of_kl)
