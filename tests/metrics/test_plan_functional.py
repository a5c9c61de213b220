"""What one plan is worth on one step, by hand."""

import pytest

from tracer1.metrics import click_accuracy, format_score, step_success, trajectory_reward, type_match
from tracer1.metrics.functional import plan_length, repeating, repeating_more
from tracer1.parsing import format_plan, parse_plan
from tracer1.schema import DONE, Action, Plan, PlanStep, Step

BOX = (100.0, 100.0, 200.0, 200.0)
CLICK = Action("click", point=(150, 150))


def step(*actions: Action, boxes=()) -> Step:
    future = tuple(PlanStep(action, DONE if i == len(actions) - 1 else "not done") for i, action in enumerate(actions))
    return Step("toy-a-000", "toy", "a", 0, "do it", None, (), future, tuple(boxes))


def plan(*actions: Action) -> Plan:
    return parse_plan(format_plan([PlanStep(action) for action in actions]))


UNREADABLE = parse_plan("<think></think><answer>Step 1: oops\nStep 2: " + format_plan([PlanStep(CLICK)])[30:])


@pytest.mark.parametrize(
    ("predicted", "success", "same_type", "click"),
    [
        (plan(Action("click", point=(199, 101))), 1.0, 1.0, 1.0),
        (plan(Action("tap", point=(199, 101))), 1.0, 1.0, 1.0),
        (plan(Action("click", point=(201, 101))), 0.0, 1.0, 0.0),  # one beside the box, near the expert's point
        (plan(Action("left_double", point=(150, 150))), 0.0, 0.0, 0.0),  # in the box, but something else
        (plan(Action("click")), 0.0, 1.0, 0.0),
        (plan(Action("wait"), CLICK), 0.0, 0.0, 0.0),  # the second step saves nothing
        (Plan(), 0.0, 0.0, 0.0),
        (UNREADABLE, 0.0, 0.0, 0.0),
    ],
)
def test_a_click_with_a_box(predicted, success, same_type, click):
    reference = step(CLICK, boxes=[BOX])
    assert step_success(reference, predicted) == success
    assert type_match(reference, predicted) == same_type
    assert click_accuracy(reference, predicted) == click


@pytest.mark.parametrize(
    "reference",
    [
        step(CLICK),
        step(Action("type", content="a"), boxes=[BOX]),
        step(Action("drag", point=(1, 1), end_point=(2, 2)), boxes=[BOX]),
    ],
    ids=["no box", "no place", "two places"],
)
def test_click_accuracy_counts_only_clicks_with_a_box(reference):
    assert click_accuracy(reference, plan(CLICK)) is None
    assert click_accuracy(reference, Plan()) is None


def test_every_kind_of_click_counts():
    for name in ("click", "left_double", "right_single", "long_press", "hover", "select"):
        assert (
            click_accuracy(step(Action(name, point=(5, 5)), boxes=[BOX]), plan(Action(name, point=(150, 150)))) == 1.0
        )


def test_without_a_box_the_distance_decides():
    assert step_success(step(CLICK), plan(Action("click", point=(234, 262)))) == 1.0  # 84, 112: 140 away
    assert step_success(step(CLICK), plan(Action("click", point=(234, 262))), distance=139) == 0.0


def test_a_step_without_an_expert_action_does_not_count():
    reference = Step("toy-a-000", "toy", "a", 0, "do it", None, (), (PlanStep(None),))
    assert [f(reference, plan(CLICK)) for f in (step_success, type_match, click_accuracy)] == [None, None, None]


def test_trajectory_reward_and_format():
    reference = step(CLICK, Action("wait"))
    assert trajectory_reward(reference, parse_plan(format_plan(reference.future))) == pytest.approx(1.0)
    assert trajectory_reward(reference, plan(CLICK, Action("wait"))) == pytest.approx(0.9)  # 1.8 of 2: no `done`
    assert trajectory_reward(reference, Plan()) == 0.0
    assert format_score(reference, plan(CLICK)) == 1.0
    assert format_score(reference, UNREADABLE) == 0.0


@pytest.mark.parametrize(
    ("planned", "expert", "repeats", "more", "length"),
    [
        (("click", "click"), ("click",), 0, 0, 2),
        (("click",) * 3, ("click", "type"), 1, 1, 3),
        (("click",) * 3, ("click",) * 3, 1, 0, 3),  # the expert repeats himself as often
        (("click",) * 4, ("click",) * 3, 1, 1, 4),
        (("tap", "click", "click"), ("click",), 1, 1, 3),  # an alias is the same type
        ((), ("click",), 0, 0, 0),
    ],
)
def test_repetitions_and_length(planned: tuple, expert: tuple, repeats: float, more: float, length: float):
    def steps(types: tuple[str, ...]) -> tuple[PlanStep, ...]:
        return tuple(PlanStep(Action(name, point=(1, 1)), "not done", "page") for name in types)

    about, said = Step("a", "toy", "a", 0, "u", None, (), steps(expert)), Plan(steps(planned))
    assert [f(about, said) for f in (repeating, repeating_more, plan_length)] == [repeats, more, length]
