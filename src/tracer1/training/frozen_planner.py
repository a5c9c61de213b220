"""An executor for studies without a grounding model: a frozen planner that is given the plan's step instruction as if it were the goal.

It stands where the paper has UI-TARS, and is no substitute for it: it has two million parameters and was taught goals, not single clicks.
It is a plugin (`plugins: [tracer1.training.frozen_planner]`, `executor=frozen_planner`), since executors know no models. It knows nothing
of rewards.
"""

from collections.abc import Sequence
from dataclasses import replace

from tracer1.actions import PLACE_TYPES, canonical_type
from tracer1.executors import EXECUTORS
from tracer1.executors.direct import DirectExecutor
from tracer1.interfaces import Sampling
from tracer1.models.policy import PolicyModule
from tracer1.parsing import parse_plan
from tracer1.registry import check_kind
from tracer1.schema import Action, Outcome, Prompt, Rollout, Step

GREEDY = 0.0  # temperature: the same instruction on the same screenshot is always executed alike


@EXECUTORS.register("frozen_planner")
class FrozenPlanner:
    """Finds the places of the planner's actions anew; what has no place (text, keys, directions) is done as planned.

    Args:
        path: The frozen planner.
        horizon: What its prompt asks it for; it was taught with one.
        max_tokens: Of its reply, of which only the first step counts.
    """

    def __init__(self, path: str, horizon: int = 4, max_tokens: int = 120) -> None:
        from tracer1.engines.transformers import TransformersEngine

        check_kind("executor.max_tokens", max_tokens, int)
        self._policy = PolicyModule(path, prompt={"horizon": horizon, "style": "brief"}, optimizer=None).requires_grad_(
            False
        )
        self._engine = TransformersEngine()
        self._sampling = Sampling(temperature=GREEDY, top_p=1.0, max_tokens=max_tokens)
        self._own = DirectExecutor()

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome per rollout, in order. A step that names a place needs an instruction, and a reply that names one."""
        outcomes = self._own.execute(rollouts)
        placed = [i for i, outcome in enumerate(outcomes) if _has_place(outcome)]
        asked: dict[tuple[str, str], list[int]] = {}  # the same question is asked once
        for i in placed:
            asked.setdefault((rollouts[i].step.key, outcomes[i].action.step_instruction.strip()), []).append(i)
        questions = [
            replace(rollouts[which[0]].step, instruction=said, history=()) for (_, said), which in asked.items()
        ]
        for which, found in zip(asked.values(), self._find(questions), strict=True):
            for i in which:
                outcomes[i] = _moved(outcomes[i].action, found)
        return outcomes

    def _find(self, questions: Sequence[Step]) -> list[Action | None]:
        """The first action that the frozen planner would do for each question."""
        prompts: list[Prompt | None] = [
            self._policy.encoder.encode(step) if step.instruction else None for step in questions
        ]
        kept = [prompt for prompt in prompts if prompt is not None]
        with self._engine.serving(self._policy):
            responses = iter(self._engine.generate(kept, self._sampling, [[0]] * len(kept)) if kept else [])
        plans = [None if p is None else parse_plan(next(responses).text, p.starts_in_think) for p in prompts]
        return [plan.steps[0].action if plan is not None and plan.steps else None for plan in plans]


def _has_place(outcome: Outcome) -> bool:
    return outcome.action is not None and canonical_type(outcome.action.action_type) in PLACE_TYPES


def _moved(planned: Action, found: Action | None) -> Outcome:
    if not planned.step_instruction.strip():
        return Outcome(error="the first step has no step_instruction", kind="no_instruction")
    if found is None or found.point is None:
        return Outcome(error="the frozen planner named no place for this instruction", kind="unreadable")
    return Outcome(action=replace(planned, point=found.point, end_point=found.end_point or planned.end_point))
