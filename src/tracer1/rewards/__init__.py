"""Rewards: pure functions of one rollout, found by name, added up with weights. Nothing here does I/O or knows where rollouts come from.

To add one, write `rewards/x.py` with `@REWARDS.register("x") def x(rollout, *, k: int = 3) -> float` and name it under `terms:`.
Its keyword-only arguments are its settings.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from typing import Any

from tracer1.errors import ConfigError, RewardError, Tracer1Error
from tracer1.registry import Registry, nearest
from tracer1.schema import Rollout

REWARDS = Registry("reward", "tracer1.rewards")

# What a setting may be, by its annotation; other annotations are not checked. A bool is a number to Python, not to a reader.
_KINDS = {
    "bool": ("true or false", bool),
    "int": ("a whole number", int),
    "float": ("a finite number", Real),
    "str": ("text", str),
}


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
    _check_kind(f"reward.terms.{name}.weight", weight, float)
    parameters = inspect.signature(function).parameters
    known = [key for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    for key, value in given.items():
        if key not in known:
            raise ConfigError(
                f"reward.terms.{name} has no setting {key!r}.{nearest(key, [*known, 'weight'])} "
                f"Known: {', '.join(['weight', *known])}."
            )
        _check_kind(f"reward.terms.{name}.{key}", value, parameters[key].annotation)
    return float(weight), partial(function, **given)


def _check_kind(where: str, value: Any, annotation: Any) -> None:
    """Raises ConfigError for a value that its annotation (a type, or its name) does not allow."""
    name = getattr(annotation, "__name__", annotation)
    wanted, kind = _KINDS.get(name, ("a finite number", object))
    fits = isinstance(value, kind) and (kind is object or isinstance(value, bool) == (kind is bool))
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"{where} is {value!r:.60}; it must be {wanted}.")


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
