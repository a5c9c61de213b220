"""Rewards of a round -> advantages, one function per estimator. Pure tensor functions: no config, no logging, no collectives.

M responses, group-adjacent: the n of one prompt side by side. GRPO's own estimator is `grpo.group_advantages`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tracer1.algorithms.grpo import group_advantages

__all__ = [
    "centred_advantages",
    "centred_round_advantages",
    "group_advantages",
    "leave_one_out_advantages",
    "masked_advantages",
    "overlong_penalty",
    "round_advantages",
]


def centred_advantages(rewards: Tensor, group_size: int) -> Tensor:
    """(M,) rewards -> (M,) differences from the group's mean, not divided by anything (Dr. GRPO, arXiv:2503.20783).

    Without the division a group counts by how far apart its rewards are: easy and hard prompts weigh no more than others.

    Raises:
        ValueError: a group of one, or M not a multiple of the group.
    """
    groups = _groups(rewards, group_size)
    return _zero_if_tied(groups, groups - groups.mean(1, keepdim=True)).flatten()


def leave_one_out_advantages(rewards: Tensor, group_size: int) -> Tensor:
    """(M,) rewards -> (M,) differences from the mean of the *other* rewards of the group (RLOO, arXiv:2402.14740).

    A_i = r_i - (sum_j r_j - r_i) / (n - 1): an unbiased baseline, because it does not know r_i.

    Raises:
        ValueError: a group of one, or M not a multiple of the group.
    """
    groups = _groups(rewards, group_size)
    others = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    return _zero_if_tied(groups, groups - others).flatten()


def round_advantages(rewards: Tensor, group_size: int, eps: float = 1e-6) -> Tensor:
    """(M,) rewards of the whole round -> (M,) z-scores over all of them (REINFORCE++, arXiv:2501.03262).

    The paper's first variant: A = (r - mean) / std over the batch, whatever prompt a response answers; std is the
    population's. Its reward holds the KL of the tokens from t on; here that of all tokens of the response (see
    `Objective.kl_in`), so that a response has one advantage.

    Raises:
        ValueError: a group of one, or M not a multiple of the group.
    """
    return _over_the_round(_groups(rewards, group_size).flatten(), eps)


def centred_round_advantages(rewards: Tensor, group_size: int, eps: float = 1e-6) -> Tensor:
    """(M,) rewards of the whole round -> (M,): the group's mean off, then z-scores over the round.

    REINFORCE++ with baseline, the same paper's variant for n > 1; it goes with the k2 KL in the loss.

    Raises:
        ValueError: a group of one, or M not a multiple of the group.
    """
    return _over_the_round(centred_advantages(rewards, group_size), eps)


def masked_advantages(estimator: Callable[[Tensor, int], Tensor], rewards: Tensor, group_size: int) -> Tensor:
    """(M,) rewards, NaN where nobody can say what a response is worth -> (M,) advantages, 0 there.

    The others are compared as if those had never been sampled: a group of n with m masked is a group of n - m; one that is left
    alone has nobody to be compared with in its group, so 0.

    Args:
        estimator: Any function of this module, or `group_advantages`.
    """
    valid = ~rewards.isnan()
    if estimator is round_advantages:
        values = rewards
    elif estimator is centred_round_advantages:
        values = _by_size(centred_advantages, rewards, valid, group_size)
    else:
        return _by_size(estimator, rewards, valid, group_size)
    advantages = torch.zeros_like(rewards)
    if valid.any():
        advantages[valid] = _over_the_round(values[valid], eps=1e-6)
    return advantages


def _by_size(estimator: Callable[[Tensor, int], Tensor], rewards: Tensor, valid: Tensor, group_size: int) -> Tensor:
    """The estimator's answer for groups of unequal sizes: all groups of a size at once."""
    groups, kept = _groups(rewards, group_size), valid.view(-1, group_size)
    advantages, sizes = torch.zeros_like(groups), kept.sum(1)
    for size in range(2, group_size + 1):
        rows = sizes == size
        if rows.any():
            advantages[rows[:, None] & kept] = estimator(groups[rows][kept[rows]], size)
    return advantages.flatten()


def overlong_penalty(lengths: Tensor, max_tokens: int, buffer: int) -> Tensor:
    """(N,) response lengths in tokens -> (N,) in [-1, 0]: soft punishment of long responses (DAPO, arXiv:2503.14476, eq. 13).

    0 up to `max_tokens - buffer`, then falling in a straight line to -1 at `max_tokens`.
    """
    return ((max_tokens - buffer - lengths) / buffer).clamp(-1.0, 0.0)


def _groups(rewards: Tensor, group_size: int) -> Tensor:
    """(M,) -> (M / n, n)."""
    if group_size < 2 or rewards.numel() % group_size:
        raise ValueError(
            f"Expected groups of at least 2 rewards, got {rewards.numel()} rewards in groups of {group_size}."
        )
    return rewards.view(-1, group_size)


def _zero_if_tied(groups: Tensor, advantages: Tensor) -> Tensor:
    """Equal rewards give exactly 0, which the rounding of a mean would not."""
    return torch.where((groups == groups[:, :1]).all(1, keepdim=True), torch.zeros_like(advantages), advantages)


def _over_the_round(values: Tensor, eps: float) -> Tensor:
    if (values == values[:1]).all():
        return torch.zeros_like(values)
    return (values - values.mean()) / (values.std(correction=0) + eps)
