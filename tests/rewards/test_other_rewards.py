"""discounted_alignment, format, repetition and coordinate_match, by hand."""

from dataclasses import replace

import pytest

from tracer1.errors import ConfigError
from tracer1.rewards import build_reward
from tracer1.rewards.coordinate_match import coordinate_match
from tracer1.rewards.discounted_alignment import discounted_alignment
from tracer1.rewards.done_claim import done_claim
from tracer1.rewards.format import format as format_reward
from tracer1.rewards.repetition import repetition
from tracer1.schema import Action, Outcome, Plan, PlanStep


def test_discounted_alignment_is_scaled_by_a_perfect_plan(make_rollout):
    assert discounted_alignment(make_rollout("click type wait", "click type wait")) == pytest.approx(1.0)
    # sims 1, 0, 1 over 1 + 0.8 + 0.64
    assert discounted_alignment(make_rollout("click wait wait", "click type wait")) == pytest.approx(1.64 / 2.44)
    # the third click repeats: (2.44 - 0.1 * 0.64) / 2.44
    assert discounted_alignment(make_rollout("click click click", "click click click")) == pytest.approx(2.376 / 2.44)
    assert discounted_alignment(make_rollout("click", "click click")) == pytest.approx(1 / 1.8)


def test_discounted_alignment_takes_its_constants(make_rollout):
    rollout = make_rollout("click click click", "click click click")
    assert discounted_alignment(rollout, lambda_rep=0.0) == pytest.approx(1.0)
    assert discounted_alignment(rollout, gamma=1.0, lambda_rep=1.0) == pytest.approx(2 / 3)
    assert discounted_alignment(rollout, lambda_align=2.0, lambda_rep=0.1) == pytest.approx((4.88 - 0.064) / 4.88)
    assert discounted_alignment(make_rollout("wait wait wait", "click"), lambda_rep=5.0) == 0.0  # clipped
    with pytest.raises(ConfigError, match="lambda_align is 0"):
        discounted_alignment(rollout, lambda_align=0)


def test_format_reads_the_plan_s_frame_and_steps(make_rollout):
    rollout = make_rollout("click type")
    assert format_reward(rollout) == 1.0
    assert format_reward(replace(rollout, plan=replace(rollout.plan, framed=False))) == 0.0
    blank = PlanStep(Action("click", ""), "done", "")
    half = replace(rollout, plan=replace(rollout.plan, steps=(rollout.plan.steps[0], blank)))
    assert format_reward(half) == 1.0
    assert format_reward(half, require_step_instruction=True) == 0.5


def test_repetition_is_the_share_of_places_without_one(make_rollout):
    assert repetition(make_rollout("click click click click type")) == pytest.approx(
        1 / 3
    )  # three places, two repetitions
    assert repetition(make_rollout("click tap left_click")) == 0.0  # all the same type
    assert repetition(make_rollout("click click")) == 1.0
    assert repetition(make_rollout("")) == 0.0


@pytest.mark.parametrize(
    ("action", "value"),
    [
        (Action("click", point=(150, 150)), 1.0),
        (Action("click", point=(250, 150)), 0.0),  # outside the box, though near the expert's point
        (Action("left_double", point=(150, 150)), 0.0),
        (None, 0.0),
    ],
)
def test_coordinate_match_asks_the_box(action, value, make_rollout):
    outcome = Outcome(action) if action else Outcome(error="no point")
    rollout = make_rollout("click", [Action("click", point=(190, 150))], outcome=outcome, boxes=[(100, 100, 200, 200)])
    assert coordinate_match(rollout) == value


def test_coordinate_match_asks_the_distance_where_there_is_no_box(make_rollout):
    rollout = make_rollout("click", [Action("click", point=(0, 0))], outcome=Outcome(Action("click", point=(84, 112))))
    assert coordinate_match(rollout) == 1.0  # 140 away
    assert coordinate_match(rollout, distance=139) == 0.0


def test_coordinate_match_has_a_distance_for_each_data_set(make_rollout):
    expert = [Action("click", point=(500.0, 500.0))]
    rollout = make_rollout("click", expert, outcome=Outcome(Action("click", point=(600.0, 500.0))))
    assert coordinate_match(rollout, distances={"other": 1.0}) == 1.0
    assert coordinate_match(rollout, distances={"toy": 99}) == 0.0
    boxed = make_rollout("click", expert, outcome=rollout.outcome, boxes=((400, 400, 600, 600),))
    assert coordinate_match(boxed, distances={"toy": 99}) == 1.0  # a box needs none
    for wrong in ({"toy": -1}, {"toy": "x"}, 140):
        with pytest.raises(ConfigError, match=r"coordinate_match\.distances"):
            build_reward({"coordinate_match": {"distances": wrong}})


def test_coordinate_match_compares_arguments_where_there_is_no_place(make_rollout):
    expert = [Action("type", content="hello")]
    assert coordinate_match(make_rollout("type", expert, outcome=Outcome(Action("type", content="hello")))) == 1.0
    assert coordinate_match(make_rollout("type", expert, outcome=Outcome(Action("type", content="bye")))) == 0.0


def test_coordinate_match_judges_what_ran_and_not_what_was_planned(make_rollout):
    rollout = make_rollout(
        [Action("click", point=(9, 9))],
        [Action("click", point=(500, 500))],
        outcome=Outcome(Action("click", point=(500, 500))),
    )
    assert coordinate_match(rollout) == 1.0


def test_coordinate_match_without_an_executor_says_so(make_rollout):
    with pytest.raises(
        ConfigError, match=r"step 'toy-a-000' has no outcome\. Set an executor, e\.g\. `executor=direct`"
    ):
        coordinate_match(make_rollout("click"))


def test_an_empty_plan_scores_nothing(make_rollout):
    rollout = replace(make_rollout(""), plan=Plan())
    assert [format_reward(rollout), repetition(rollout), discounted_alignment(rollout)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("plan", "done", "score", "value"),
    [
        ("click", True, 0.0, 0.0),  # says that it is done, and is not
        ("click", True, 1.0, 1.0),
        ("click", False, 0.0, 1.0),  # missed, and does not claim otherwise
        ("click click", True, -1.0, 1.0),  # the claim is about a step that was not executed
        ("", True, 1.0, 0.0),
    ],
)
def test_a_false_claim_to_be_done_costs(make_rollout, plan, done, score, value):
    assert done_claim(make_rollout(plan, done=done, outcome=Outcome(score=score))) == value


def test_a_nearly_solved_task_may_count_as_done(make_rollout):
    rollout = make_rollout("click", done=True, outcome=Outcome(score=0.5))
    assert (done_claim(rollout), done_claim(rollout, full=0.5)) == (0.0, 1.0)
    with pytest.raises(ConfigError, match=r"'done_claim' is about episodes.*stage3_online"):
        done_claim(make_rollout("click"))
