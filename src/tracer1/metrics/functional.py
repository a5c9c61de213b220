"""What one plan is worth on one step, as plain functions without torch. They know nothing of averages or ranks.

Each answers with a number in 0..1 (`plan_length` with a count), or None where the step does not count. Whether it counts is the
reference's to say, never the plan's: an unreadable plan is a miss, not a step less in the denominator.
"""

from tracer1.actions import DEFAULT_DISTANCE, PLACE_TYPES, canonical_type, matches, place_matches
from tracer1.alignment import (
    excess_repetitions,
    format_accuracy,
    repetitions,
    statuses_of,
    trajectory_accuracy,
    types_of,
)
from tracer1.schema import Action, Plan, Step

CLICK_TYPES = PLACE_TYPES - {"drag"}  # one place, and a box says whether it was hit


def _first_action(plan: Plan) -> Action | None:
    """The action that would be executed: the first step's, None where it cannot be read."""
    return plan.steps[0].action if plan.steps else None


def _same_type(predicted: Action, expert: Action) -> bool:
    return canonical_type(predicted.action_type) == canonical_type(expert.action_type)


def step_success(step: Step, plan: Plan, distance: float = DEFAULT_DISTANCE) -> float | None:
    """1.0 if the plan's first action does what the expert's does: type, place and argument (`actions.matches`)."""
    expert, predicted = step.future[0].action, _first_action(plan)
    if expert is None:
        return None
    return float(predicted is not None and matches(predicted, expert, step.boxes, distance))


def type_match(step: Step, plan: Plan) -> float | None:
    """1.0 if the plan's first action has the expert's type, aliases resolved on both sides."""
    expert, predicted = step.future[0].action, _first_action(plan)
    if expert is None:
        return None
    return float(predicted is not None and _same_type(predicted, expert))


def click_accuracy(step: Step, plan: Plan) -> float | None:
    """1.0 if the plan's first action has the expert's type and hits a box; None unless the expert clicks and the step has boxes."""
    expert, predicted = step.future[0].action, _first_action(plan)
    if expert is None or canonical_type(expert.action_type) not in CLICK_TYPES or not step.boxes:
        return None
    hit = predicted is not None and _same_type(predicted, expert)
    return float(hit and place_matches(predicted.point, expert.point, step.boxes))


def trajectory_reward(step: Step, plan: Plan) -> float:
    """Stage 1's accuracy with the method's constants, whatever the reward's settings, so that runs can be compared."""
    return trajectory_accuracy(types_of(plan.steps), statuses_of(plan.steps), types_of(step.future))


def format_score(step: Step, plan: Plan) -> float:
    """The share of well-formed steps; the step itself plays no part."""
    return format_accuracy(plan)


def repeating(step: Step, plan: Plan) -> float:
    """1.0 if the plan has three consecutive steps of one type, whatever the expert does."""
    return float(repetitions(types_of(plan.steps)).total() > 0)


def repeating_more(step: Step, plan: Plan) -> float:
    """1.0 if the plan has more such places than the expert's future steps have, type by type."""
    return float(excess_repetitions(types_of(plan.steps), types_of(step.future)) > 0)


def plan_length(step: Step, plan: Plan) -> float:
    """How many readable steps the plan has: a count, not a share."""
    return float(len(types_of(plan.steps)))
