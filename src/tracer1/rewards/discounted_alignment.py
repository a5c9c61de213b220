"""The reward of the paper's body text (equations 1 and 2), to compare with `trajectory_alignment`. It looks at action types only."""

from tracer1.alignment import clip, discounted_return, types_of
from tracer1.errors import ConfigError
from tracer1.rewards import REWARDS
from tracer1.schema import Rollout


@REWARDS.register("discounted_alignment")
def discounted_alignment(
    rollout: Rollout, *, lambda_align: float = 1.0, lambda_rep: float = 0.1, gamma: float = 0.8
) -> float:
    """`sum_t gamma^(t-1) * (lambda_align * sim_t - lambda_rep * rep_t)`, scaled to 0..1.

    The paper leaves sim and rep open. Our reading: `sim_t` is 1 when the predicted type at t is the reference's type at t, and 0
    otherwise or beyond its end; `rep_t` is 1 when step t makes three equal types in a row, which is what the paper's appendix calls a
    repetition. The sum is divided by that of a perfect plan without repetitions, and clipped to 0..1.

    Args:
        rollout: Its plan's readable steps are compared with the step's future.
        lambda_align: Weight of a step of the right type; above 0.
        lambda_rep: Weight of a repetition.
        gamma: Discount per step.

    Raises:
        ConfigError: `lambda_align` is not above 0, so that no plan could score.
    """
    if lambda_align <= 0:
        raise ConfigError(f"discounted_alignment.lambda_align is {lambda_align}; it must be above 0. Set it to 1.0.")
    types, reference = types_of(rollout.plan.steps), types_of(rollout.step.future)
    best = sum(lambda_align * gamma**i for i in range(len(reference)))
    return clip(discounted_return(types, reference, lambda_align, lambda_rep, gamma) / best)
