"""Freedom from repetition, as a term of its own. It does not know what the expert did."""

from tracer1.alignment import RUN, repetitions, types_of
from tracer1.rewards import REWARDS
from tracer1.schema import Rollout


@REWARDS.register("repetition")
def repetition(rollout: Rollout) -> float:
    """The share, 0..1, of places in the plan where three consecutive action types are not all the same.

    1 is a plan without repetitions, or one too short to have any; 0 is a plan that repeats itself throughout, or one without a
    readable step. Give it a positive weight to reward variety.
    """
    types = types_of(rollout.plan.steps)
    if not types:
        return 0.0
    return 1 - repetitions(types).total() / max(1, len(types) - RUN + 1)
