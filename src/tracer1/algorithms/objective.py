"""What is optimised, put together by name: how rewards become advantages, the loss of a token, the KL, the average.

The defaults are the paper's GRPO (method, section 4); `conf/algorithm/*.yaml` are the published others. It holds no weights,
makes no collective calls, and knows nothing of models, rewards or rounds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tracer1.algorithms.advantages import (
    centred_advantages,
    centred_round_advantages,
    group_advantages,
    leave_one_out_advantages,
    masked_advantages,
    round_advantages,
)
from tracer1.algorithms.grpo import clip_fraction, clipped_surrogate, low_var_kl, token_mean
from tracer1.algorithms.kl import k1, k2
from tracer1.algorithms.surrogates import (
    importance_weight,
    sequence_log_ratio,
    sequence_surrogate,
    truncated_importance,
)
from tracer1.errors import ConfigError
from tracer1.registry import nearest

# (M,) rewards, group size -> (M,) advantages
ADVANTAGES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "z_score": group_advantages,
    "centred": centred_advantages,
    "leave_one_out": leave_one_out_advantages,
    "round_z_score": round_advantages,
    "centred_round_z_score": centred_round_advantages,
}
OVER_THE_ROUND = ("round_z_score", "centred_round_z_score")  # these need the rewards of all ranks
KL_KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": low_var_kl}
NAMES: dict[str, tuple[str, ...]] = {
    "advantages": tuple(ADVANTAGES),
    "surrogate": ("token", "sequence"),
    "average": ("tokens", "sequences", "constant"),
    "kl_kind": tuple(KL_KINDS),
    "kl_in": ("loss", "reward"),
    "old_logprobs": ("recompute", "first_update_on_policy", "engine"),
}
_NO_DUAL = 1e30  # far above the largest ratio, e^20, and finite


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss of an update.

    Args:
        advantages: A name in ADVANTAGES.
        surrogate: `token` clips each token's ratio; `sequence` the geometric mean of a response's (GSPO).
        average: What an update's loss is the mean over: all its `tokens`; its `sequences`, each the mean of its tokens; or
            `constant`, the sum over tokens divided by sequences x max_tokens (Dr. GRPO: long responses weigh no less).
        clip_low, clip_high: The ratio is held to [1 - clip_low, 1 + clip_high].
        clip_dual: Bounds the loss of bad tokens by this multiple of the advantage; None does not.
        kl_coef: Weight of the KL to the reference; 0 needs no reference at all.
        kl_kind: k1, k2 or k3, see `kl.py`.
        kl_in: `loss`: per token, with a gradient. `reward`: kl_coef x the response's summed KL is taken off its reward
            before the advantages.
        old_logprobs: What the ratio compares with. `recompute`: the policy's own, by a pass before the round's updates.
            `first_update_on_policy`: the same, but without that pass for the round's first update, whose ratio is 1 by
            construction. `engine`: the sampler's, without any pass; truncated importance weights then take the place of the
            clipped ratio, and clip_low, clip_high and clip_dual have no say.
        importance_cap: The largest importance weight under `engine`, or where older weights have sampled (`importance`).

    Raises:
        ConfigError: an unknown name, or settings that make no sense together.
    """

    advantages: str = "z_score"
    surrogate: str = "token"
    average: str = "tokens"
    clip_low: float = 0.2
    clip_high: float = 0.3
    clip_dual: float | None = 3.0
    kl_coef: float = 0.01
    kl_kind: str = "k3"
    kl_in: str = "loss"
    old_logprobs: str = "recompute"
    importance_cap: float = 2.0

    def __post_init__(self) -> None:
        for setting, known in NAMES.items():
            value = getattr(self, setting)
            if value not in known:
                raise ConfigError(
                    f"algorithm.{setting}={value} is unknown.{nearest(str(value), list(known))} "
                    f"Known: {', '.join(known)}."
                )
        for clash, message in _clashes(self):
            if clash:
                raise ConfigError(message)

    @property
    def over_the_round(self) -> bool:
        """Whether advantages compare a response with all others of the round, those of other ranks included."""
        return self.advantages in OVER_THE_ROUND

    @property
    def on_engine(self) -> bool:
        """Whether the sampler's log-probs are the old ones."""
        return self.old_logprobs == "engine"

    def old_pass(self, first_update: bool) -> bool:
        """Whether an update's old log-probs are recomputed before the round's updates begin."""
        return self.old_logprobs == "recompute" or (self.old_logprobs == "first_update_on_policy" and not first_update)

    def response_advantages(self, rewards: Tensor, group_size: int) -> Tensor:
        """(M,) rewards, group-adjacent, of all ranks where `over_the_round` -> (M,) advantages; NaN is masked and gets 0."""
        estimator = ADVANTAGES[self.advantages]
        if rewards.isnan().any():
            return masked_advantages(estimator, rewards, group_size)
        return estimator(rewards, group_size)

    def kl_penalty(self, old: Tensor, ref: Tensor, mask: Tensor) -> Tensor:
        """(N, R) log-probs of the sampling policy and the reference -> (N,): what `kl_in=reward` takes off the rewards."""
        kl = KL_KINDS[self.kl_kind](old, ref)
        return self.kl_coef * kl.where(mask.bool(), kl.new_zeros(())).sum(1)

    def importance(self, old: Tensor, sampled: Tensor, mask: Tensor) -> Tensor:
        """What the surrogate is multiplied by where the weights have moved between sampling and the round's first update.

        min(exp(old - sampled), importance_cap): the ratio then compares with the policy as it was before the round's updates, and the
        weight makes up for who sampled (decoupled objective, AReaL, arXiv:2505.24298; truncated as in IMPALA). Under
        `surrogate=sequence` a response has one weight, from the geometric mean of its tokens' ratios.

        Args:
            old: (N, R) log-probs before the round's updates.
            sampled: (N, R) the sampler's.
            mask: (N, R) 1 for response tokens.

        Returns:
            (N, R) without gradient.
        """
        if self.surrogate == "sequence":
            log_ratio = sequence_log_ratio(old, sampled, mask)
            return importance_weight(log_ratio, log_ratio.new_zeros(()), self.importance_cap).expand_as(old)
        return importance_weight(old, sampled, self.importance_cap)

    def token_losses(
        self,
        logprobs: Tensor,
        old: Tensor,
        ref: Tensor | None,
        advantages: Tensor,
        mask: Tensor,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each token and what to report of it.

        Args:
            logprobs: (N, R) under the policy, with gradients.
            old: (N, R) when sampled; on policy, `logprobs.detach()`.
            ref: (N, R) under the reference, or None without one.
            advantages: (N,).
            mask: (N, R) 1 for response tokens.
            weight: (N, R) what the surrogate is multiplied by, see `importance`; the KL is not.

        Returns:
            Losses (N, R), meaningless at padding, and figures (N, R) without gradient: `clip_fraction` (under `engine`, the
            share of capped weights) and, with a reference, `kl`.
        """
        losses = self._surrogate(logprobs, old, advantages, mask)
        if weight is not None:
            losses = losses * weight
        figures = {"clip_fraction": self._clipped(logprobs.detach(), old, mask)}
        if ref is not None:
            kl = KL_KINDS[self.kl_kind](logprobs, ref)
            figures["kl"] = kl.detach()
            if self.kl_in == "loss" and self.kl_coef:
                losses = losses + self.kl_coef * kl
        return losses, figures

    def _surrogate(self, logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        low, high, dual = self.clip_low, self.clip_high, _NO_DUAL if self.clip_dual is None else self.clip_dual
        if self.on_engine:
            return truncated_importance(logprobs, old, advantages, self.importance_cap)
        if self.surrogate == "sequence":
            return sequence_surrogate(logprobs, old, advantages, mask, low=low, high=high, dual=dual)
        return clipped_surrogate(logprobs, old, advantages, low, high, dual)

    def _clipped(self, logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
        if self.on_engine:
            return (importance_weight(logprobs, old, self.importance_cap) >= self.importance_cap).to(logprobs.dtype)
        if self.surrogate == "sequence":
            log_ratio = sequence_log_ratio(logprobs, old, mask)
            clipped = clip_fraction(log_ratio, log_ratio.new_zeros(()), self.clip_low, self.clip_high)
            return clipped.expand_as(logprobs)
        return clip_fraction(logprobs, old, self.clip_low, self.clip_high)

    def denominator(self, tokens: float, sequences: int, max_tokens: int) -> float:
        """What the summed loss of an update is divided by, see `average`.

        Args:
            tokens: Response tokens of the update, over all micro-batches and ranks.
            sequences: Its responses.
            max_tokens: The longest a response may be.
        """
        totals = {"tokens": tokens, "sequences": sequences, "constant": sequences * max_tokens}
        return float(max(1, totals[self.average]))

    def reduce(self, losses: Tensor, mask: Tensor, denominator: float, parts: int) -> Tensor:
        """(N, R) losses of one micro-batch -> its share of the update's mean; the trainer averages the `parts` shares."""
        if self.average == "sequences":
            losses = losses / mask.sum(1, keepdim=True).clamp(min=1)
        return token_mean(losses, mask, denominator, parts)


def _clashes(objective: Objective) -> list[tuple[bool, str]]:
    """Settings that make no sense together, with what is said of them."""
    sequence, kl_in_reward = objective.surrogate == "sequence", objective.kl_in == "reward"
    return [
        (
            sequence and objective.average != "sequences",
            f"algorithm.surrogate=sequence gives a response one loss, so algorithm.average={objective.average} would weigh "
            "it by its length. Set algorithm.average=sequences.",
        ),
        (
            sequence and objective.on_engine,
            "algorithm.surrogate=sequence clips a response's ratio more tightly than a sampler and a trainer agree, so it "
            "cannot take the sampler's log-probs. Set algorithm.old_logprobs=recompute.",
        ),
        (
            kl_in_reward and objective.kl_coef == 0,
            "algorithm.kl_in=reward with algorithm.kl_coef=0 takes nothing off the reward. Give a kl_coef above 0, or set "
            "algorithm.kl_in=loss, which with kl_coef=0 is no KL at all.",
        ),
        (
            kl_in_reward and objective.old_logprobs == "first_update_on_policy",
            "algorithm.kl_in=reward needs the old log-probs of every response, so "
            "algorithm.old_logprobs=first_update_on_policy would save nothing. Set it to recompute or engine.",
        ),
    ]


def make_objective(settings: Mapping[str, Any]) -> Objective:
    """The objective of an algorithm group: its own settings are taken, the loop's are left alone."""
    return Objective(**{name: settings[name] for name in Objective.__dataclass_fields__ if name in settings})
