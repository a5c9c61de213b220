"""An objective put together by name: the default is GRPO bit for bit, each other one is pinned, nonsense is refused."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tracer1.algorithms.grpo import clip_fraction, clipped_surrogate, low_var_kl, token_mean
from tracer1.algorithms.objective import Objective, make_objective
from tracer1.errors import ConfigError


def batch(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    rng = np.random.default_rng(1)
    arrays = {name: rng.normal(-2, 0.4, (4, 6)) for name in ("logprobs", "old", "ref")}
    arrays |= {"advantages": rng.normal(size=4), "mask": (np.arange(6) < np.array([6, 2, 1, 4])[:, None]).astype(float)}
    return {name: torch.from_numpy(a).to(dtype) for name, a in arrays.items()}


def test_the_default_is_the_papers_grpo_bit_for_bit():
    b, objective = batch(), Objective()
    losses, figures = objective.token_losses(**b)
    kl = low_var_kl(b["logprobs"], b["ref"])
    surrogate = clipped_surrogate(b["logprobs"], b["old"], b["advantages"], 0.2, 0.3, 3.0)
    assert torch.equal(losses, surrogate + 0.01 * kl)
    assert torch.equal(figures["kl"], kl)
    assert torch.equal(figures["clip_fraction"], clip_fraction(b["logprobs"], b["old"], 0.2, 0.3))
    assert objective.denominator(tokens=13, sequences=4, max_tokens=6) == 13
    assert torch.equal(objective.reduce(losses, b["mask"], 13.0, 2), token_mean(losses, b["mask"], 13, 2))
    rewards = torch.tensor([1.0, 0.0, 0.5, 0.5])
    assert objective.response_advantages(rewards, 2).tolist() == pytest.approx([0.5**0.5, -(0.5**0.5), 0, 0], rel=1e-4)


def test_without_a_reference_there_is_no_kl():
    b = batch()
    losses, figures = Objective(kl_coef=0).token_losses(**{**b, "ref": None})
    assert torch.equal(losses, clipped_surrogate(b["logprobs"], b["old"], b["advantages"], 0.2, 0.3, 3.0))
    assert figures.keys() == {"clip_fraction"}


def test_the_kl_in_the_reward_is_reported_and_is_not_in_the_loss():
    b = batch()
    objective = Objective(kl_in="reward", kl_kind="k1")
    losses, figures = objective.token_losses(**b)
    assert torch.equal(losses, Objective(kl_coef=0).token_losses(**{**b, "ref": None})[0])
    assert torch.equal(figures["kl"], b["logprobs"] - b["ref"])


def test_the_kl_penalty_is_the_sum_over_the_response():
    # k1 of two tokens: (-1 - -1.5) + (-2 - -1) = -.5; of one: .25; the rest is padding. kl_coef 0.1
    old = torch.tensor([[-1.0, -2.0, math.nan], [-1.0, 0.0, 0.0]])
    ref = torch.tensor([[-1.5, -1.0, 0.0], [-1.25, 9.0, math.inf]])
    mask = torch.tensor([[1.0, 1, 0], [1, 0, 0]])
    got = Objective(kl_in="reward", kl_kind="k1", kl_coef=0.1).kl_penalty(old, ref, mask)
    assert_close(got, torch.tensor([-0.05, 0.025]))


def test_clip_higher_without_dual_clip():
    # DAPO: 1.28 above, 0.8 below, and a bad token that became likelier has no bound
    objective = Objective(clip_high=0.28, clip_dual=None, kl_coef=0)
    logprobs = torch.tensor([[1.5, 0.5], [1.5, 40.0], [1.5, 0.5]]).double().log()
    losses, figures = objective.token_losses(
        logprobs, torch.zeros_like(logprobs), None, torch.tensor([1.0, -1.0, 0.0]).double(), torch.ones(3, 2)
    )
    assert_close(losses, torch.tensor([[-1.28, -0.5], [1.5, 40.0], [0.0, 0.0]]).double())
    assert figures["clip_fraction"].tolist() == [[1, 1], [1, 1], [1, 1]]


def test_the_constant_denominator_counts_the_longest_responses_possible():
    # Dr. GRPO: 2 responses of 3 and 1 tokens of at most 4: (1 + 2 + 3 + 10) / 8 = 2; the token mean would be 4
    objective = Objective(average="constant")
    losses = torch.tensor([[1.0, 2, 3, 0], [10, 0, 0, 0]])
    mask = torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0]])
    denominator = objective.denominator(tokens=4, sequences=2, max_tokens=4)
    assert (denominator, objective.reduce(losses, mask, denominator, parts=1).item()) == (8.0, 2.0)


def test_the_mean_over_sequences_is_that_of_their_means():
    # (1 + 2 + 3)/3 = 2, 10 and an empty one: 12 / 3 = 4, whichever micro-batch they come in
    objective = Objective(surrogate="sequence", average="sequences")
    losses = torch.tensor([[1.0, 2, 3], [10, math.nan, math.inf], [5, 5, 5]])
    mask = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]])
    denominator = objective.denominator(tokens=4, sequences=3, max_tokens=99)
    assert objective.reduce(losses, mask, denominator, parts=1).item() == 4
    shares = [objective.reduce(losses[i : i + 1], mask[i : i + 1], denominator, parts=3).item() for i in range(3)]
    assert sum(shares) / 3 == pytest.approx(4)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"clip_high": 0.28, "clip_dual": None, "kl_coef": 0.0},
        {"average": "constant", "clip_dual": None, "kl_coef": 0.0},
        {"surrogate": "sequence", "average": "sequences", "clip_low": 3e-4, "clip_high": 4e-4, "kl_coef": 0.0},
        {"kl_in": "reward", "kl_kind": "k1"},
        {"old_logprobs": "engine", "kl_kind": "k2"},
    ],
)
def test_on_policy_every_objective_pulls_with_the_advantage(settings: dict[str, Any]):
    """At ratio 1 the slope of the surrogate is -A, times how the average weighs the token."""
    b, objective = batch(torch.float64), Objective(**settings)
    logprobs = b["logprobs"].requires_grad_()
    mask, lengths = b["mask"], b["mask"].sum(1, keepdim=True)
    losses, figures = objective.token_losses(logprobs, logprobs.detach(), logprobs.detach(), b["advantages"], mask)
    objective.reduce(losses, mask, 1.0, 1).backward()
    weight = mask / lengths if objective.average == "sequences" else mask
    assert_close(logprobs.grad, -b["advantages"][:, None] * weight)
    assert_close(losses[mask.bool()], (-b["advantages"][:, None]).expand(4, 6)[mask.bool()])
    assert all(not value.requires_grad and value[mask.bool()].sum() == 0 for value in figures.values())


def test_gspos_clip_fraction_counts_the_tokens_of_clipped_responses():
    objective = Objective(surrogate="sequence", average="sequences")
    logprobs = torch.tensor(
        [[2.0, 0.5, 9.9], [2.0, 1.0, 1.0]]
    ).log()  # geometric means 1 (of two tokens) and 2^(1/3) = 1.26
    mask = torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    _, figures = objective.token_losses(logprobs, torch.zeros(2, 3), None, torch.ones(2), mask)
    assert figures["clip_fraction"].tolist() == [[0, 0, 0], [0, 0, 0]]
    _, figures = Objective(surrogate="sequence", average="sequences", clip_high=0.25).token_losses(
        logprobs, torch.zeros(2, 3), None, torch.ones(2), mask
    )
    assert figures["clip_fraction"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_under_the_engines_logprobs_the_weight_is_capped():
    objective = Objective(old_logprobs="engine", kl_coef=0)
    logprobs = torch.tensor([[0.5, 1.9, 2.1]]).log()
    losses, figures = objective.token_losses(logprobs, torch.zeros(1, 3), None, torch.ones(1), torch.ones(1, 3))
    assert_close(losses, torch.tensor([[-0.5, -1.9, -2.0]]))
    assert figures["clip_fraction"].tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("mode", "first", "later"),
    [("recompute", True, True), ("first_update_on_policy", False, True), ("engine", False, False)],
)
def test_which_updates_need_an_old_pass(mode: str, first: bool, later: bool):
    objective = Objective(old_logprobs=mode)
    assert (objective.old_pass(first_update=True), objective.old_pass(first_update=False)) == (first, later)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"advantages": "z_scores"},
            "algorithm.advantages=z_scores is unknown. Did you mean 'z_score'? Known: z_score, ",
        ),
        ({"surrogate": "tokn"}, "algorithm.surrogate=tokn is unknown. Did you mean 'token'?"),
        ({"average": "token"}, "Did you mean 'tokens'?"),
        ({"kl_kind": "k4"}, "algorithm.kl_kind=k4 is unknown. Known: k1, k2, k3."),
        ({"kl_in": "rewards"}, "Did you mean 'reward'?"),
        ({"old_logprobs": None}, "algorithm.old_logprobs=None is unknown."),
        ({"surrogate": "sequence"}, "Set algorithm.average=sequences."),
        (
            {"surrogate": "sequence", "average": "sequences", "old_logprobs": "engine"},
            "Set algorithm.old_logprobs=recompute.",
        ),
        ({"kl_in": "reward", "kl_coef": 0}, "algorithm.kl_in=reward with algorithm.kl_coef=0 takes nothing off"),
        ({"kl_in": "reward", "old_logprobs": "first_update_on_policy"}, "would save nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=re.escape(said)):
        Objective(**settings)


def test_an_objective_takes_its_own_of_an_algorithms_settings():
    objective = make_objective({"kl_coef": 0.5, "group_size": 5, "sampling": {}, "advantages": "centred"})
    assert (objective.kl_coef, objective.advantages, objective.clip_high) == (0.5, "centred", 0.3)
    assert not objective.over_the_round
    assert Objective(advantages="round_z_score").over_the_round
