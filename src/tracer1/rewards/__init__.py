"""Rewards: pure functions of one rollout, found by name, added up with weights. Nothing here does I/O or knows where rollouts come from.

To add one, write `rewards/x.py` with `@REWARDS.register("x") def x(rollout, *, k: int = 3) -> float` and name it under `terms:`.
Its keyword-only arguments are its settings; a reward that makes no sense of steps without a screenshot or a place says so with
`@needs("screenshot", "place")` below the other decorator, and such steps are kept away from it; `@checked_by(function)` names what
looks at its settings.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

from tracer1.errors import ConfigError, RewardError, Tracer1Error
from tracer1.needs import checked_needs
from tracer1.registry import Registry, bound, check_kind
from tracer1.schema import Rollout

REWARDS = Registry("reward", "tracer1.rewards")


def score_of_episode(rollout: Rollout, reward: str) -> float:
    """The environment's score of the episode that a rollout is a turn of.

    Raises:
        ConfigError: nothing was played; the message names `reward`, who asks.
    """
    score = None if rollout.outcome is None else rollout.outcome.score
    if score is None:
        raise ConfigError(
            f"Reward {reward!r} is about episodes, and step {rollout.step.key!r} belongs to none. Train with "
            "+experiment=stage3_online, or use a reward of stage 1 or 2."
        )
    return score


def needs(*names: str) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Decorator that says what a step must have for a reward to make sense, of `tracer1.needs.NEEDS`."""

    def mark(function: Callable[..., float]) -> Callable[..., float]:
        function.needs = checked_needs(names, f"@needs of reward {function.__name__!r}")
        return function

    return mark


def checked_by(check: Callable[[Mapping[str, Any]], None]) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Decorator that names what looks at the settings given to a reward, beyond their kinds, when a run is put together.

    Args:
        check: Takes the settings by name; raises ConfigError for one that cannot work.
    """

    def mark(function: Callable[..., float]) -> Callable[..., float]:
        function.check = check
        return function

    return mark


def reward_needs(terms: Iterable[str]) -> tuple[str, ...]:
    """What a step must have for every reward that `terms` names; an unknown name raises UnknownName."""
    named = (name for term in terms for name in getattr(REWARDS.get(str(term)), "needs", ()))
    return checked_needs(named, "reward.terms")


def build_reward(terms: Mapping[str, Mapping[str, Any] | None]) -> Callable[[Rollout], tuple[float, dict[str, float]]]:
    """Turns the `terms` of a reward config into one function: the weighted sum of registered rewards.

    Args:
        terms: Reward name -> its settings, and `weight` (1.0 unless given).

    Returns:
        rollout -> (total, value of each term before its weight). It raises RewardError, with the step's key, when a term raises or
        gives a number that is not finite: a broken reward is never a 0.

    Raises:
        UnknownName: no such reward.
        ConfigError: no terms, or a setting that the reward does not have or of the wrong kind.
    """
    if not isinstance(terms, Mapping) or not terms:
        raise ConfigError(
            "reward.terms is empty. Name at least one reward, e.g. `terms: {trajectory_alignment: {weight: 1.0}}`."
        )
    built = {name: _build_term(str(name), {} if settings is None else settings) for name, settings in terms.items()}

    def reward(rollout: Rollout) -> tuple[float, dict[str, float]]:
        values = {name: _evaluate(name, function, rollout) for name, (_, function) in built.items()}
        return sum(weight * values[name] for name, (weight, _) in built.items()), values

    return reward


def _build_term(name: str, settings: Mapping[str, Any]) -> tuple[float, Callable[[Rollout], float]]:
    """The weight of a term, and its reward with the settings filled in."""
    function = REWARDS.get(name)
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"reward.terms.{name} holds {settings!r:.60}. Write its settings as `{name}: {{weight: 1.0}}`."
        )
    given = dict(settings)
    weight = given.pop("weight", 1.0)
    check_kind(f"reward.terms.{name}.weight", weight, float)
    made = bound(f"reward.terms.{name}", function, given, also=("weight",))
    getattr(function, "check", lambda settings: None)(given)
    return float(weight), made


def _evaluate(name: str, function: Callable[[Rollout], float], rollout: Rollout) -> float:
    """One term's value for one rollout."""
    where = f"Reward {name!r} on step {rollout.step.key!r}"
    try:
        value = function(rollout)
    except Tracer1Error:
        raise  # already says what to do
    except Exception as error:  # raised again at once: someone's plugin failed, and the key says on what
        raise RewardError(
            f"{where} raised {type(error).__name__}: {error}. Fix it: a bad response scores low, it does not raise."
        ) from error
    if not isinstance(value, Real) or not math.isfinite(value):
        raise RewardError(
            f"{where} gave {value!r:.60}; a reward is a finite number for any rollout, an empty plan included."
        )
    return float(value)
