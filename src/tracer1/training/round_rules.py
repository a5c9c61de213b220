"""What a round does beside the objective: groups without signal, overlong responses, the log-prob gate, executors' faults, the dump.

It knows no tensors but those that it is handed, and nothing of models.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from tracer1.algorithms.advantages import overlong_penalty
from tracer1.algorithms.objective import make_objective
from tracer1.errors import ConfigError, ExecutorError, TrainingDiverged
from tracer1.schema import Rollout
from tracer1.training.ranks import gathered, summed

log = logging.getLogger(__name__)

Settings = Mapping[str, Any]  # one group of the config, as plain values


@dataclass(frozen=True, slots=True)
class LogprobGate:
    """Warns, then stops, when the engine and the trainer disagree.

    The scale is that of `rollout/logprob_error`: the mean over sampled tokens of |log p_engine - log p_trainer|, in nats.
    In float32 it is about 1e-6, in bfloat16 some 1e-2; a stale weight, a dropped picture or another prompt on one side makes
    it 0.1 and more.

    Args:
        warn, stop: Above which; None never does.
    """

    warn: float | None = None
    stop: float | None = None

    def check(self, error: float, round_number: int) -> None:
        """Looks at a round's figure, the same on all ranks.

        Raises:
            TrainingDiverged: it lies above `stop`, or is not a number.
        """
        found = f"rollout/logprob_error is {error:.4g} nats per token in round {round_number}"
        if self.stop is not None and not error <= self.stop:
            raise TrainingDiverged(
                f"{found}, above algorithm.logprob_error_stop={self.stop}: the engine samples from another model than the one "
                "that is trained (stale weights, dropped pictures, another precision). Compare them with "
                "engine=transformers, or raise the limit."
            )
        if self.warn is not None and not error <= self.warn:
            log.warning("%s, above algorithm.logprob_error_warn=%s: engine and trainer drift apart.", found, self.warn)


@dataclass(frozen=True, slots=True)
class FaultLimit:
    """Stops when too much of what was executed met a fault of the infrastructure: what is left is no fair sample.

    Args:
        share: The largest share of masked rollouts, 0 to 1.
    """

    share: float = 0.2

    def check(self, rollouts: Sequence[Rollout], device: torch.device) -> None:
        """Looks at all ranks' executed rollouts; every rank must call it, and all of them stop.

        Raises:
            ExecutorError: one line, with the fault that was met most often.
        """
        self.check_faults([r.outcome.fault if r.masked else "" for r in rollouts], device, "executions")

    def check_faults(self, said: Sequence[str], device: torch.device, what: str) -> None:
        """Looks at what was done, of all ranks: the fault of each, or an empty text. `what` it is, for the message."""
        faults = Counter(fault for fault in said if fault)
        masked, executed = summed([faults.total(), len(said)], device)
        if masked > self.share * executed:
            everywhere = sum(gathered(faults), Counter())
            fault, times = everywhere.most_common(1)[0]
            raise ExecutorError(
                f"{masked:.0f} of {executed:.0f} {what} met a fault of the infrastructure, more than "
                f"rollout.max_faults={self.share} allows; {times} times: {fault.rstrip('.')}. See to the executor's server, sandbox or "
                "browser, then start again (a training with ckpt_path=last)."
            )


@dataclass(frozen=True, slots=True)
class Overlong:
    """Takes something off the reward of long responses (DAPO's soft punishment).

    Args:
        buffer: Over how many tokens before the limit it grows.
        penalty: What the longest response loses.
        max_tokens: The limit.
    """

    buffer: int
    penalty: float
    max_tokens: int

    def __post_init__(self) -> None:
        if self.buffer > self.max_tokens:
            raise ConfigError(
                f"algorithm.overlong.buffer={self.buffer} is longer than algorithm.sampling.max_tokens={self.max_tokens}: even "
                "an empty response would be overlong. Give a smaller buffer."
            )

    def apply(self, rollouts: Sequence[Rollout]) -> list[Rollout]:
        """Scored rollouts with the term `overlong` in [-1, 0], weighted into the reward; masked ones are left alone."""
        lengths = torch.tensor([len(r.response.token_ids) for r in rollouts], dtype=torch.float64)
        terms = overlong_penalty(lengths, self.max_tokens, self.buffer).tolist()
        return [
            r if r.masked else replace(r, reward=r.reward + self.penalty * term, terms={**r.terms, "overlong": term})
            for r, term in zip(rollouts, terms, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class RoundRules:
    """The loop's own settings.

    Args:
        max_draws: How often prompts are drawn for a round, at most. From 2 on groups of equal rewards are replaced (dynamic
            sampling); what is still missing after the last draw is filled up with them.
        overlong: Shaping of the reward; None shapes nothing.
        gate: Looks at the difference between engine and trainer.
        dump: Folder of the rounds' rollouts; None writes none.
        faults: Looks at how much the executor's infrastructure failed.
        staleness: 1: a round is sampled while the one before is updated, from the weights before that.
    """

    max_draws: int = 1
    overlong: Overlong | None = None
    gate: LogprobGate = field(default_factory=LogprobGate)
    dump: Path | None = None
    faults: FaultLimit = field(default_factory=FaultLimit)
    staleness: int = 0

    @classmethod
    def of(cls, algorithm: Settings, rollout: Settings) -> "RoundRules":
        """The rules of an algorithm group, checked with its objective, and of a rollout group.

        Raises:
            ConfigError: settings that make no sense together, with one line that says why.
        """
        objective = make_objective(algorithm)
        for clash, message in [*_clashes(algorithm), *_stale_clashes(algorithm, rollout["staleness"])]:
            if clash:
                raise ConfigError(message)
        if objective.kl_kind == "k1" and objective.kl_in == "loss" and objective.kl_coef:
            log.warning(
                "algorithm.kl_kind=k1 in the loss: its gradient is 0 in expectation. Take k2 or k3, or kl_in=reward."
            )
        dynamic, overlong = algorithm["dynamic_sampling"], algorithm["overlong"]
        return cls(
            max_draws=dynamic["max_draws"] if dynamic else 1,
            overlong=Overlong(**overlong, max_tokens=algorithm["sampling"]["max_tokens"]) if overlong else None,
            gate=LogprobGate(algorithm["logprob_error_warn"], algorithm["logprob_error_stop"]),
            faults=FaultLimit(rollout["max_faults"]),
            staleness=rollout["staleness"],
            dump=Path(rollout["dump"]) if rollout["dump"] else None,
        )


def _clashes(algorithm: Settings) -> list[tuple[bool, str]]:
    """Settings that make no sense together, with what is said of them; the objective's own are checked there."""
    warn, stop = algorithm["logprob_error_warn"], algorithm["logprob_error_stop"]
    return [
        (
            warn is not None and stop is not None and warn > stop,
            f"algorithm.logprob_error_warn={warn} lies above algorithm.logprob_error_stop={stop}: it would never warn.",
        ),
        (
            bool(algorithm["dynamic_sampling"]) and algorithm["advantages"] == "round_z_score",
            "algorithm.dynamic_sampling drops groups of equal rewards, but algorithm.advantages=round_z_score compares them "
            "with the other groups: they have a signal. Set algorithm.dynamic_sampling=null.",
        ),
        (
            bool(algorithm["top_p_aware"]) and algorithm["old_logprobs"] == "engine",
            "algorithm.old_logprobs=engine takes the sampler's log-probs, which are of the whole distribution, so "
            "algorithm.top_p_aware=true would compare them with others. Set one of them otherwise.",
        ),
    ]


def _stale_clashes(algorithm: Settings, staleness: int) -> list[tuple[bool, str]]:
    """What does not go with sampling ahead."""
    return [
        (
            bool(staleness and algorithm["dynamic_sampling"]),
            "rollout.staleness=1 samples a round before its groups can be looked at, so algorithm.dynamic_sampling cannot draw "
            "again. Set one of them to 0 or null.",
        ),
        (
            bool(staleness and algorithm["top_p_aware"]),
            "rollout.staleness=1 weighs by the sampler's log-probs, which are of the whole distribution, so "
            "algorithm.top_p_aware=true would compare them with others. Set one of them otherwise.",
        ),
    ]
