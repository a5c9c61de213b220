"""Losses of sampled tokens beside GRPO's own `grpo.clipped_surrogate`. Pure tensor functions: no config, no collectives.

N responses of up to R tokens; mask (N, R) is 1 for response tokens.
"""

import torch
from torch import Tensor

from tracer1.algorithms.grpo import clipped_surrogate

_LOG_RATIO_LIMIT = 20.0


def sequence_log_ratio(logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """(N, R) log-probs now and when sampled -> (N, 1) log of the geometric mean of a response's token ratios.

    log s_i = 1/|y_i| sum_t (logp_t - old_t) (GSPO, arXiv:2507.18071, eq. 7); 0 for an empty response.
    """
    difference = torch.where(mask.bool(), logprobs - old, torch.zeros_like(logprobs))
    return difference.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)


def sequence_surrogate(
    logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, *, low: float, high: float, dual: float
) -> Tensor:
    """GSPO's loss, (N, R): every token of a response carries the response's own, so average over sequences.

    The ratio of a response is clipped as a whole, and its gradient is A s_i times the mean of its tokens' grad log p: all
    tokens weigh the same, where the token ratio would weigh each by its own noise.
    """
    log_ratio = sequence_log_ratio(logprobs, old, mask)
    loss = clipped_surrogate(log_ratio, torch.zeros_like(log_ratio), advantages, low, high, dual)
    return loss.expand_as(logprobs)


def importance_weight(logprobs: Tensor, sampled: Tensor, cap: float) -> Tensor:
    """(N, R) log-probs of the trainer and of the sampler -> (N, R) min(rho, cap), without gradient."""
    return (logprobs.detach() - sampled).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT).exp().clamp(max=cap)


def truncated_importance(logprobs: Tensor, sampled: Tensor, advantages: Tensor, cap: float) -> Tensor:
    """(N, R) loss of value -A min(rho, cap) and gradient -A min(rho, cap) grad log p, not yet masked.

    rho = p / p_sampled is both how far the weights have moved since and what the sampler rounds otherwise. A weight above
    the cap is cut down to it and still has a gradient, where a clipped ratio would have none: truncation bounds the
    variance and forgets no token (the truncated weights of IMPALA, arXiv:1802.01561).
    """
    weight = importance_weight(logprobs, sampled, cap)
    return -advantages[:, None] * weight * (1 + (logprobs - logprobs.detach()))
