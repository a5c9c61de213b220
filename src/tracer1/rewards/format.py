"""The format term: which share of a plan's steps is well formed. It does not know what the expert did."""

from tracer1.alignment import format_accuracy
from tracer1.rewards import REWARDS
from tracer1.schema import Rollout


@REWARDS.register("format")
def format(rollout: Rollout, *, require_step_instruction: bool = False) -> float:
    """Valid steps divided by steps, 0..1; 0 unless the response is one think block followed by one answer block.

    Args:
        rollout: Only its plan is read.
        require_step_instruction: Also ask for a `step_instruction` that is not blank (the author's script does, the paper does not).
    """
    return format_accuracy(rollout.plan, require_step_instruction)
