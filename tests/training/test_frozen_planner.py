"""The frozen planner as an executor: whose place is done, and what it is asked."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tracer1.executors import EXECUTORS
from tracer1.interfaces import Sampling
from tracer1.parsing import format_plan
from tracer1.registry import Registry
from tracer1.schema import Action, Plan, PlanStep, Prompt, Response, Rollout, Step
from tracer1.training.frozen_planner import FrozenPlanner

PLANNER = Path(__file__).resolve().parents[2] / "demo" / "tiny_planner"
CLICK = Action("click", "click ok", point=(100, 100))
STEP = Step("a-000", "toy", "a", 0, "do it all", None, (), (PlanStep(CLICK),))


class FakeEngine:
    """Answers what a table says."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies, self.asked = replies, []

    def serving(self, policy: object):
        import contextlib

        return contextlib.nullcontext()

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        assert sampling.temperature == 0
        self.asked += [prompt.key for prompt in prompts]
        return [Response(self.replies[prompt.key], (), ()) for prompt in prompts]


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> FrozenPlanner:
    """The shipped planner with a fake engine; a prompt's key is the instruction that it is asked for."""
    made = FrozenPlanner(str(PLANNER))

    def encode(step: Step) -> Prompt:
        assert step.history == ()
        return Prompt(step.instruction, (1,), {})

    monkeypatch.setattr(made._policy.encoder, "encode", encode)
    made._engine = FakeEngine(
        {
            "click ok": format_plan([PlanStep(Action("click", "x", point=(700, 800)))]),
            "click no": "nonsense",
            "drag it": format_plan([PlanStep(Action("drag", "x", point=(1, 2), end_point=(3, 4)))]),
        }
    )
    return made


def rollout(*actions: Action) -> Rollout:
    return Rollout(STEP, Response("", (), ()), Plan(tuple(PlanStep(action) for action in actions), framed=True))


def test_the_place_is_the_frozen_planner_s_and_the_rest_the_plan_s(executor: FrozenPlanner):
    drag = Action("drag", "drag it", point=(9, 9), end_point=(8, 8))
    text = Action("type", "type it", content="hello")
    clicked, dragged, typed = executor.execute([rollout(CLICK), rollout(drag), rollout(text)])
    assert clicked.action == Action("click", "click ok", point=(700, 800))
    assert dragged.action == Action("drag", "drag it", point=(1, 2), end_point=(3, 4))
    assert typed.action == text
    assert executor._engine.asked == ["click ok", "drag it"]  # nobody is asked for a place that there is none of


def test_a_group_asks_once(executor: FrozenPlanner):
    outcomes = executor.execute([rollout(CLICK)] * 5)
    assert len({outcome.action.point for outcome in outcomes}) == 1
    assert executor._engine.asked == ["click ok"]


def test_what_cannot_be_executed_is_a_verdict(executor: FrozenPlanner):
    silent, lost, empty = executor.execute(
        [rollout(Action("click", " ", point=(1, 1))), rollout(Action("click", "click no", point=(1, 1))), rollout()]
    )
    assert silent.error == "the first step has no step_instruction"
    assert "named no place" in lost.error
    assert empty.error == "the plan has no steps"
    assert not any(outcome.fault or outcome.action for outcome in (silent, lost, empty))


def test_it_is_frozen_and_found_by_name(executor: FrozenPlanner):
    assert isinstance(EXECUTORS, Registry)
    assert EXECUTORS.get("frozen_planner") is FrozenPlanner
    assert not any(weights.requires_grad for weights in executor._policy.parameters())
