"""Group-relative policy optimisation as pure tensor functions (method, section 4). No config, no logging, no collectives.

N = B prompts x G rollouts, the G of one prompt adjacent; R response tokens.
"""

import torch
from torch import Tensor

_LOG_RATIO_LIMIT = 20.0  # exp(20) is finite in every float type that trains
_KL_LIMIT = 10.0


def group_advantages(rewards: Tensor, group_size: int, eps: float = 1e-6) -> Tensor:
    """(N,) rewards -> (N,) z-scores within each group, unbiased std (GRPO, arXiv:2402.03300); equal rewards give exactly 0.

    Raises:
        ValueError: a group of one (its unbiased std does not exist), or N not a multiple of the group.
    """
    if group_size < 2 or rewards.numel() % group_size:
        raise ValueError(
            f"Expected groups of at least 2 rewards, got {rewards.numel()} rewards in groups of {group_size}."
        )
    groups = rewards.view(-1, group_size)
    centred = groups - groups.mean(1, keepdim=True)
    # a mean of equal floats can be off by one bit, which dividing by eps would turn into a gradient
    tied = (groups == groups[:, :1]).all(1, keepdim=True)
    return torch.where(tied, torch.zeros_like(centred), centred / (groups.std(1, keepdim=True) + eps)).flatten()


def clipped_surrogate(
    logprobs: Tensor, old: Tensor, advantages: Tensor, low: float, high: float, dual: float
) -> Tensor:
    """(N, R) log-probs now and when sampled, (N,) advantages -> (N, R) loss, not yet masked.

    Clips the ratio to [1 - low, 1 + high] (DAPO, arXiv:2503.14476) and bounds the loss of bad tokens by `dual` > 1 times
    the advantage (dual clip, arXiv:1912.09729).
    """
    advantages = advantages[:, None]
    ratio = (logprobs - old).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT).exp()
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high))
    return torch.where(advantages < 0, torch.minimum(loss, -advantages * dual), loss)


def clip_fraction(logprobs: Tensor, old: Tensor, low: float, high: float) -> Tensor:
    """(N, R) log-probs -> (N, R) 1.0 where the ratio lies outside the clip range."""
    ratio = (logprobs - old).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT).exp()
    return ((ratio < 1 - low) | (ratio > 1 + high)).to(logprobs.dtype)


def low_var_kl(logprobs: Tensor, ref: Tensor) -> Tensor:
    """(N, R) log-probs of policy and reference -> (N, R) estimate of KL(policy || reference), never negative.

    k3 = e^d - d - 1 with d = ref - policy (http://joschu.net/blog/kl-approx.html), d clamped to 20 and k3 to 10.
    """
    d = (ref - logprobs).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)
    return (d.exp() - d - 1).clamp(-_KL_LIMIT, _KL_LIMIT)


def token_mean(values: Tensor, mask: Tensor, update_tokens: int, parts: int = 1) -> Tensor:
    """(N, R) values of one micro-batch -> its share of the token mean over one optimizer update.

    Args:
        values: Per-token loss.
        mask: 1 for response tokens, 0 for padding.
        update_tokens: Response tokens of the whole update, all micro-batches and ranks together.
        parts: Micro-batches x ranks of the update, because the trainer averages the parts: their mean is then the token mean.
    """
    return torch.where(mask.bool(), values, torch.zeros_like(values)).sum() * (parts / update_tokens)
