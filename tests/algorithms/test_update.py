"""One whole update of each published objective, written again in NumPy from its paper: four groups of three, two micro-batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tracer1.algorithms.objective import Objective

GROUPS, N, R, MAX_TOKENS = 4, 3, 7, 9
Arrays = dict[str, np.ndarray]


def arrays(seed: int, scale: float) -> Arrays:
    rng = np.random.default_rng(seed)
    shape = (GROUPS * N, R)
    logprobs = rng.normal(-2, 0.5, shape)
    found = {
        "logprobs": logprobs,
        "old": logprobs + rng.normal(0, scale, shape),
        "ref": logprobs + rng.normal(0, 0.3, shape),
        "mask": (np.arange(R) < rng.integers(1, R + 1, GROUPS * N)[:, None]).astype(float),
        "rewards": rng.random(GROUPS * N),
    }
    found["rewards"][:N] = 0.5  # a tied group
    return found


def group_means(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, N).mean(1).repeat(N)


def clipped(ratio: np.ndarray, advantage: np.ndarray, low: float, high: float) -> np.ndarray:
    """What is to be made large, as the papers write it."""
    return np.minimum(ratio * advantage, np.clip(ratio, 1 - low, 1 + high) * advantage)


def token_objective(x: Arrays, advantage: np.ndarray, low: float, high: float) -> np.ndarray:
    return clipped(np.exp(x["logprobs"] - x["old"]), advantage[:, None], low, high) * x["mask"]


def z_scores(rewards: np.ndarray) -> np.ndarray:
    std = rewards.reshape(-1, N).std(1, ddof=1).repeat(N)
    return (rewards - group_means(rewards)) / (std + 1e-6)


def less_kl(x: Arrays, coef: float) -> np.ndarray:
    return x["rewards"] - coef * ((x["old"] - x["ref"]) * x["mask"]).sum(1)


def grpo(x: Arrays) -> float:
    advantage = z_scores(x["rewards"])[:, None]
    ratio = np.exp(x["logprobs"] - x["old"])
    loss = -clipped(ratio, advantage, 0.2, 0.3)
    loss = np.where(advantage < 0, np.minimum(loss, -3 * advantage), loss)
    d = x["ref"] - x["logprobs"]
    return float(((loss + 0.01 * (np.exp(d) - d - 1)) * x["mask"]).sum() / x["mask"].sum())


def dapo(x: Arrays) -> float:
    return -float(token_objective(x, z_scores(x["rewards"]), 0.2, 0.28).sum() / x["mask"].sum())


def dr_grpo(x: Arrays) -> float:
    advantage = x["rewards"] - group_means(x["rewards"])
    return -float(token_objective(x, advantage, 0.2, 0.2).sum() / (GROUPS * N * MAX_TOKENS))


def gspo(x: Arrays) -> float:
    lengths = x["mask"].sum(1)
    ratio = np.exp(((x["logprobs"] - x["old"]) * x["mask"]).sum(1) / lengths)
    return -float(clipped(ratio, z_scores(x["rewards"]), 3e-4, 4e-4).mean())


def rloo(x: Arrays) -> float:
    rewards = less_kl(x, 0.01).reshape(-1, N)
    advantage = np.stack([rewards[:, i] - np.delete(rewards, i, axis=1).mean(1) for i in range(N)], axis=1).ravel()
    return -float(token_objective(x, advantage, 0.2, 0.2).sum() / (GROUPS * N * MAX_TOKENS))


def reinforce_pp(x: Arrays) -> float:
    rewards = less_kl(x, 0.01)
    advantage = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    return -float(token_objective(x, advantage, 0.2, 0.2).sum() / x["mask"].sum())


def reinforce_pp_baseline(x: Arrays) -> float:
    centred = x["rewards"] - group_means(x["rewards"])
    advantage = centred / (centred.std() + 1e-6)
    kl = 0.5 * (x["logprobs"] - x["ref"]) ** 2 * x["mask"]
    return float((0.01 * kl - token_objective(x, advantage, 0.2, 0.2)).sum() / x["mask"].sum())


def truncated_weights(x: Arrays) -> float:
    weight = np.minimum(np.exp(x["logprobs"] - x["old"]), 2.0)
    return -float((weight * z_scores(x["rewards"])[:, None] * x["mask"]).sum() / x["mask"].sum())


NO_DUAL = {"clip_dual": None, "clip_high": 0.2}
CASES: dict[str, tuple[dict[str, Any], Callable[[Arrays], float], float]] = {  # settings, NumPy, how far off policy
    "grpo": ({}, grpo, 0.5),
    "dapo": ({"clip_high": 0.28, "clip_dual": None, "kl_coef": 0.0}, dapo, 0.5),
    "dr_grpo": ({**NO_DUAL, "advantages": "centred", "average": "constant", "kl_coef": 0.0}, dr_grpo, 0.5),
    "gspo": (
        {
            "surrogate": "sequence",
            "average": "sequences",
            "clip_low": 3e-4,
            "clip_high": 4e-4,
            "clip_dual": None,
            "kl_coef": 0.0,
        },
        gspo,
        1e-3,
    ),
    "rloo": (
        {**NO_DUAL, "advantages": "leave_one_out", "average": "constant", "kl_kind": "k1", "kl_in": "reward"},
        rloo,
        0.5,
    ),
    "reinforce_pp": ({**NO_DUAL, "advantages": "round_z_score", "kl_kind": "k1", "kl_in": "reward"}, reinforce_pp, 0.5),
    "reinforce_pp_baseline": (
        {**NO_DUAL, "advantages": "centred_round_z_score", "kl_kind": "k2"},
        reinforce_pp_baseline,
        0.5,
    ),
    "engine": ({"old_logprobs": "engine", "kl_coef": 0.0}, truncated_weights, 0.8),
}


def update(objective: Objective, x: Arrays) -> tuple[float, torch.Tensor]:
    """The loss of one update in two micro-batches, and its gradient with respect to every log-prob."""
    t = {name: torch.from_numpy(value) for name, value in x.items()}
    logprobs = t["logprobs"].requires_grad_()
    rewards = t["rewards"]
    if objective.kl_in == "reward":
        rewards = rewards - objective.kl_penalty(t["old"], t["ref"], t["mask"])
    advantages = objective.response_advantages(rewards, N)
    denominator = objective.denominator(float(t["mask"].sum()), GROUPS * N, MAX_TOKENS)
    shares = []
    for rows in torch.arange(GROUPS * N).split(2 * N):
        losses, _ = objective.token_losses(
            logprobs[rows], t["old"][rows], t["ref"][rows], advantages[rows], t["mask"][rows]
        )
        shares.append(objective.reduce(losses, t["mask"][rows], denominator, parts=2))
    loss = torch.stack(shares).mean()
    loss.backward()
    return loss.item(), logprobs.grad


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_one_update_equals_the_papers_formula(name: str, seed: int):
    settings, formula, scale = CASES[name]
    x = arrays(seed, scale)
    loss, gradient = update(Objective(**settings), {key: value.copy() for key, value in x.items()})
    assert loss == pytest.approx(formula(x), rel=1e-10)
    assert (gradient[x["mask"] == 0] == 0).all()
    if name != "engine":  # whose gradient is not its value's: the weight is held fixed, see test_surrogates
        slope = np.zeros_like(x["logprobs"])
        for place in np.ndindex(slope.shape):
            for sign in (1, -1):
                near = {**x, "logprobs": x["logprobs"].copy()}
                near["logprobs"][place] += sign * 1e-6
                slope[place] += sign * formula(near) / 2e-6
        np.testing.assert_allclose(gradient.numpy(), slope, atol=2e-8)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"reinforce_pp_baseline", "engine"}))
def test_the_cases_are_what_is_shipped(name: str, monkeypatch: pytest.MonkeyPatch):
    from tracer1.algorithms.objective import make_objective
    from tracer1.training.overrides import CONF, check_overrides

    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))
    shipped = check_overrides("train", [f"algorithm={name}"])["algorithm"]
    assert make_objective(shipped) == Objective(**CASES[name][0])
