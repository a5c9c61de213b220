"""Estimates of KL(policy || reference) from single sampled tokens (http://joschu.net/blog/kl-approx.html). Pure functions.

All take (N, R) log-probs of policy and reference; d = ref - policy is clamped to 20. k3 is `grpo.low_var_kl`.
"""

from torch import Tensor

from tracer1.algorithms.grpo import low_var_kl

__all__ = ["k1", "k2", "low_var_kl"]

_LOG_RATIO_LIMIT = 20.0


def k1(logprobs: Tensor, ref: Tensor) -> Tensor:
    """-d: unbiased, of either sign. For the reward: in a loss its gradient is grad log p, which is 0 in expectation."""
    return (logprobs - ref).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)


def k2(logprobs: Tensor, ref: Tensor) -> Tensor:
    """d^2 / 2: biased, never negative; its gradient in a loss is that of the KL itself, on policy."""
    return (logprobs - ref).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT).square() / 2
