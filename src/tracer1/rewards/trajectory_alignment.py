"""Stage 1's reward: how far a plan's action types follow the expert's. It compares types and statuses only, never places or text."""

from tracer1.alignment import AlignmentRule, statuses_of, trajectory_accuracy, types_of
from tracer1.rewards import REWARDS
from tracer1.schema import Rollout


@REWARDS.register("trajectory_alignment")
def trajectory_alignment(
    rollout: Rollout,
    *,
    gamma: float = AlignmentRule.gamma,
    position_penalty: float = AlignmentRule.position_penalty,
    acceptance: float = AlignmentRule.acceptance,
    done_bonus: float = AlignmentRule.done_bonus,
    unmatched_penalty: float = AlignmentRule.unmatched_penalty,
    repetition_penalty: float = AlignmentRule.repetition_penalty,
    overlong_margin: int = AlignmentRule.overlong_margin,
    overlong_reward: float = AlignmentRule.overlong_reward,
    ignore_reference_repetition: bool = AlignmentRule.ignore_reference_repetition,
) -> float:
    """The accuracy of the method, section 2, in 0..1 (the paper's appendix A.2; constants of the author's script).

    Args:
        rollout: Its plan's readable steps are compared with the step's future.
        gamma: Discount per predicted position.
        position_penalty: Taken off a pair's score per place that it is shifted; used when the lengths differ.
        acceptance: A shifted pair counts only above this score.
        done_bonus: Added when the last predicted status is `done`.
        unmatched_penalty: Taken off for every step, predicted or reference, that has no partner.
        repetition_penalty: Taken off for every place where three consecutive predicted types are equal.
        overlong_margin: A plan longer than the reference by more than this gets `overlong_reward` and nothing else.
        overlong_reward: See `overlong_margin`.
        ignore_reference_repetition: Count, for each type, only the repetitions beyond the reference's own of that type. The
            paper does not; with it false, a perfect plan scores below 1 wherever the expert repeats himself.
    """
    rule = AlignmentRule(
        gamma,
        position_penalty,
        acceptance,
        done_bonus,
        unmatched_penalty,
        repetition_penalty,
        overlong_margin,
        overlong_reward,
        ignore_reference_repetition,
    )
    steps = rollout.plan.steps
    return trajectory_accuracy(types_of(steps), statuses_of(steps), types_of(rollout.step.future), rule)
