"""Stage 2's reward for GUI steps: did the executed action do what the expert's did? It does not know who executed it."""

from collections.abc import Mapping
from typing import Any

from tracer1.actions import DEFAULT_DISTANCE, matches
from tracer1.errors import ConfigError
from tracer1.rewards import REWARDS, checked_by, needs
from tracer1.schema import Rollout


def _check(settings: Mapping[str, Any]) -> None:
    distances = settings.get("distances") or {}
    if not isinstance(distances, Mapping):
        raise ConfigError(
            f"coordinate_match.distances is {distances!r:.60}; write it as `distances: {{gui_odyssey: 140}}`."
        )
    for dataset, distance in distances.items():
        if not isinstance(distance, (int, float)) or isinstance(distance, bool) or not distance >= 0:
            raise ConfigError(
                f"coordinate_match.distances.{dataset} is {distance!r:.60}; it must be a number of at least 0."
            )


@REWARDS.register("coordinate_match")
@needs("screenshot", "place")
@checked_by(_check)
def coordinate_match(
    rollout: Rollout, *, distance: float = DEFAULT_DISTANCE, distances: Mapping[str, float] | None = None
) -> float:
    """1.0 if the outcome's action matches the expert's next one, else 0.0 (method, section 3).

    An action with a place must hit one of the step's boxes; where there is none, lie within the distance. Other actions must agree
    in type and argument. An outcome with an error scores 0.0: the plan's action could not be executed.

    Args:
        rollout: Needs an outcome, which an executor fills in.
        distance: In 0..1000 units; used only where the step has no box.
        distances: The same for steps of one data set, by its name.

    Raises:
        ConfigError: nothing was executed.
    """
    outcome = rollout.outcome
    if outcome is None:
        raise ConfigError(
            f"Reward 'coordinate_match' scores what an executor did, and step {rollout.step.key!r} has no outcome. "
            "Set an executor, e.g. `executor=direct`, or use a reward of stage 1."
        )
    expert = rollout.step.future[0].action
    if outcome.action is None or expert is None:
        return 0.0
    near = (distances or {}).get(rollout.step.dataset, distance)
    return float(matches(outcome.action, expert, rollout.step.boxes, near))
