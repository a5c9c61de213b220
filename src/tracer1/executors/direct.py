"""Acts exactly as the planner says: no grounding model, no server. It judges only whether an action can be executed at all."""

from collections.abc import Sequence

from tracer1.actions import missing_arguments
from tracer1.executors import EXECUTORS
from tracer1.schema import Outcome, Plan, Rollout


@EXECUTORS.register("direct")
class DirectExecutor:
    """The planner's own first step, as the outcome."""

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome per rollout, in order: the first step's action, or the reason why it cannot be executed."""
        return [_act(rollout.plan) for rollout in rollouts]


def _act(plan: Plan) -> Outcome:
    if not plan.steps:
        return Outcome(error=plan.error or "the plan has no steps")
    first = plan.steps[0]  # never a later one: a broken first step is a failed step, not a licence to skip it
    if first.action is None:
        return Outcome(error=f"the first step cannot be read: {first.error}")
    missing = missing_arguments(first.action)
    if missing:
        why = f" ({first.error})" if first.error else ""
        return Outcome(error=f"{first.action.action_type} lacks {', '.join(missing)}{why}")
    return Outcome(action=first.action)
