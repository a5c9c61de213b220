"""How well a predicted plan follows a reference: pure maths on sequences of action types and statuses (method, section 2).

Rewards and metrics both call it, so a validation number and a reward cannot drift apart.
It knows nothing of text, places, configs or torch. Types are compared as given: `types_of` makes them canonical.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracer1.actions import canonical_type
from tracer1.schema import DONE, Plan, PlanStep

RUN = 3  # so many equal types in a row are one repetition


@dataclass(frozen=True)
class AlignmentRule:
    """The constants of the trajectory reward; the defaults are the method's."""

    gamma: float = 0.8  # discount per predicted position, 0..1
    position_penalty: float = 0.1  # taken off a pair's score per place that it is shifted
    acceptance: float = 0.5  # a shifted pair counts only above this score
    done_bonus: float = 0.2  # for a plan whose last status is `done`
    unmatched_penalty: float = 0.15  # for every step, predicted or reference, that has no partner
    repetition_penalty: float = 0.1  # for every repetition
    overlong_margin: int = 3  # a plan longer than the reference by more than this is overlong
    overlong_reward: float = 0.05  # what an overlong plan gets, whatever it says
    ignore_reference_repetition: bool = False  # forgive repetitions that the reference has too


def types_of(steps: Iterable[PlanStep]) -> tuple[str, ...]:
    """The canonical action types of the readable steps, in order; aliases count as the same type on both sides."""
    return tuple(canonical_type(step.action.action_type) for step in steps if step.readable)


def statuses_of(steps: Iterable[PlanStep]) -> tuple[str, ...]:
    """The statuses of the readable steps, in order."""
    return tuple(step.status for step in steps if step.readable)


def repetitions(types: Sequence[str]) -> Counter[str]:
    """How often each type stands three times in a row; a run of n equal types counts n - 2 times."""
    return Counter(types[i] for i in range(len(types) - RUN + 1) if len(set(types[i : i + RUN])) == 1)


def excess_repetitions(types: Sequence[str], reference: Sequence[str]) -> int:
    """Repetitions beyond the reference's: per type, the count in `types` less the count in `reference`, never below 0."""
    return (repetitions(types) - repetitions(reference)).total()  # Counter subtraction drops what is not positive


def match_steps(
    types: Sequence[str],
    reference: Sequence[str],
    position_penalty: float = AlignmentRule.position_penalty,
    acceptance: float = AlignmentRule.acceptance,
) -> list[tuple[int, int, float]]:
    """Pairs (i, j, s) of predicted step i and reference step j, and their score s in 0..1.

    Equal lengths pair by position, equal types or not. Otherwise each i in order takes the unused j of the highest score
    above `acceptance`, the first on ties, and may find none.
    """
    if len(types) == len(reference):
        return [(i, i, float(a == b)) for i, (a, b) in enumerate(zip(types, reference, strict=True))]
    pairs, unused = [], list(range(len(reference)))
    for i, predicted in enumerate(types):
        scored = [(max(0.0, (predicted == reference[j]) - position_penalty * abs(i - j)), j) for j in unused]
        score, best = max(scored, key=lambda pair: pair[0], default=(0.0, -1))  # max keeps the first on ties
        if best >= 0 and score > acceptance:
            pairs.append((i, best, score))
            unused.remove(best)
    return pairs


def trajectory_accuracy(
    types: Sequence[str],
    statuses: Sequence[str],
    reference: Sequence[str],
    rule: AlignmentRule = AlignmentRule(),
) -> float:
    """The accuracy of a plan, 0..1 (method, section 2, steps 1 to 5).

    Args:
        types: (P,) predicted action types, readable steps only.
        statuses: (P,) their statuses.
        reference: (G,) the expert's action types from now on.
        rule: The constants.
    """
    if not types or not reference:
        return 0.0
    if len(types) > len(reference) + rule.overlong_margin:
        return rule.overlong_reward
    pairs = match_steps(types, reference, rule.position_penalty, rule.acceptance)
    total = sum(score * rule.gamma**i for i, _, score in pairs)
    total += rule.done_bonus * (statuses[-1] == DONE)
    total -= rule.unmatched_penalty * (len(types) + len(reference) - 2 * len(pairs))
    best = sum(rule.gamma**i for i in range(len(reference))) + rule.done_bonus
    forgiven = reference if rule.ignore_reference_repetition else ()
    return clip(clip(total / best) - rule.repetition_penalty * excess_repetitions(types, forgiven))


def discounted_return(
    types: Sequence[str], reference: Sequence[str], lambda_align: float, lambda_rep: float, gamma: float
) -> float:
    """Equations 1 and 2 of the paper: the sum over t of gamma^(t-1) * (lambda_align * sim_t - lambda_rep * rep_t).

    sim_t is 1 when step t has the reference's type at t. rep_t is 1 when step t makes three equal types in a row.
    """
    hits = [float(i < len(reference) and predicted == reference[i]) for i, predicted in enumerate(types)]
    repeats = [float(i >= RUN - 1 and len(set(types[i - RUN + 1 : i + 1])) == 1) for i in range(len(types))]
    return sum(
        gamma**i * (lambda_align * hit - lambda_rep * repeat)
        for i, (hit, repeat) in enumerate(zip(hits, repeats, strict=True))
    )


def is_valid_step(step: PlanStep, require_step_instruction: bool = False) -> bool:
    """Whether the format reward counts a step: a string abstraction, an action object with `action_type`, and a status.

    Text around the object, or an argument that could not be read, makes a step no less valid.
    """
    if step.screenshot_abstraction is None or not step.readable:
        return False
    return not require_step_instruction or bool(step.action.step_instruction.strip())


def format_accuracy(plan: Plan, require_step_instruction: bool = False) -> float:
    """Valid steps divided by steps, 0..1; 0 for a response that is not one think block followed by one answer block."""
    if not plan.framed or not plan.steps:
        return 0.0
    return sum(is_valid_step(step, require_step_instruction) for step in plan.steps) / len(plan.steps)


def clip(value: float, low: float = 0.0, high: float = 1.0) -> float:
    """The nearest number within low..high."""
    return min(max(value, low), high)
