"""The direct executor acts at the first step, and says why it cannot."""

import pytest

from tracer1.executors import EXECUTORS
from tracer1.executors.direct import DirectExecutor
from tracer1.parsing import parse_plan
from tracer1.schema import Action, Outcome, PlanStep, Response, Rollout, Step

STEP = Step("toy-a-000", "toy", "a", 0, "do it", None, (), (PlanStep(Action("wait")),))
CLICK = '{"screenshot_abstraction": "", "action": {"action_type": "click", "point": [5, 6]}, "status": "not done"}'


def execute(*answers: str) -> list[Outcome]:
    texts = [f"<think></think><answer>{answer}</answer>" for answer in answers]
    return DirectExecutor().execute([Rollout(STEP, Response(text, (), ()), parse_plan(text)) for text in texts])


def test_it_is_found_by_name():
    assert EXECUTORS.get("direct") is DirectExecutor


def test_the_first_step_is_the_outcome_in_order():
    wait = CLICK.replace("click", "wait")
    assert execute(f"Step 1: {CLICK}\nStep 2: {wait}", f"Step 1: {wait}") == [
        Outcome(Action("click", point=(5, 6))),
        Outcome(Action("wait", point=(5, 6))),
    ]
    assert execute() == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("", "no steps in the answer"),
        (
            f"Step 1: oops\nStep 2: {CLICK}",
            "the first step cannot be read: not JSON: JSONDecodeError",
        ),  # never the second step
        (f"Step 1: {CLICK.replace('[5, 6]', 'null')}", "click lacks point"),
        (
            f"Step 1: {CLICK.replace('[5, 6]', '[5, 6000]')}",
            "click lacks point (a point lies within 0..1000, got [5, 6000])",
        ),
        (f"Step 1: {CLICK.replace('click', 'drag')}", "drag lacks end_point"),
        (f"Step 1: {CLICK.replace('click', 'type')}", "type lacks content"),
    ],
)
def test_a_bad_action_is_an_error_and_no_exception(answer, error):
    assert execute(answer) == [Outcome(error=error)]


def test_no_answer_at_all():
    rollout = Rollout(STEP, Response("hm", (), ()), parse_plan("hm"))
    assert DirectExecutor().execute([rollout]) == [Outcome(error="no <answer> block")]


def test_a_step_without_status_can_still_be_executed():
    assert execute(f"Step 1: {CLICK.replace('not done', '?')}") == [Outcome(Action("click", point=(5, 6)))]
