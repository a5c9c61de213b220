"""The wiring of the trajectory reward; its maths is in tests/test_alignment.py."""

import inspect
from dataclasses import asdict

import pytest

from tracer1.alignment import AlignmentRule
from tracer1.parsing import format_plan, parse_plan
from tracer1.rewards.trajectory_alignment import trajectory_alignment
from tracer1.schema import NOT_DONE, Action, Plan, PlanStep, Rollout


def test_its_settings_are_the_rule_s_constants():
    parameters = inspect.signature(trajectory_alignment).parameters
    settings = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert settings == asdict(AlignmentRule())


def test_every_setting_reaches_the_rule(make_rollout):
    rollout = make_rollout("wait click click click type", "click type")
    value = trajectory_alignment(rollout)
    # wait: none; click at 1 takes 0: 0.9 * 0.8; type at 4 is three off: 0.7 * 0.4096; done 0.2; three predicted are unmatched: 0.45
    base = (0.72 + 0.28672 + 0.2 - 0.45) / 2
    assert value == pytest.approx(base - 0.1)
    assert trajectory_alignment(rollout, repetition_penalty=0.0) == pytest.approx(base)
    assert trajectory_alignment(rollout, unmatched_penalty=0.0, repetition_penalty=0.0) == pytest.approx(1.20672 / 2)
    assert trajectory_alignment(rollout, done_bonus=0.0, repetition_penalty=0.0) == pytest.approx(
        (0.72 + 0.28672 - 0.45) / 1.8
    )
    assert trajectory_alignment(rollout, overlong_margin=2, overlong_reward=0.01) == 0.01
    # without the last pair four are unmatched
    strict = trajectory_alignment(rollout, acceptance=0.8, repetition_penalty=0.0)
    assert strict == pytest.approx(max(0.0, (0.72 + 0.2 - 0.75) / 2))
    # no shift costs anything: 0.8 + 0.4096
    free = trajectory_alignment(rollout, position_penalty=0.0, repetition_penalty=0.0)
    assert free == pytest.approx((0.8 + 0.4096 + 0.2 - 0.45) / 2)
    assert trajectory_alignment(rollout, gamma=1.0, repetition_penalty=0.0) == pytest.approx(
        (0.9 + 0.7 + 0.2 - 0.45) / 2.2
    )


def test_the_reference_s_repetitions_can_be_forgiven(make_rollout):
    rollout = make_rollout("click click click type", "click click click type")
    assert trajectory_alignment(rollout) == pytest.approx(0.9)
    assert trajectory_alignment(rollout, ignore_reference_repetition=True) == pytest.approx(1.0)


def test_aliases_count_on_both_sides(make_rollout):
    assert trajectory_alignment(make_rollout("tap write", "click type")) == pytest.approx(1.0)
    assert trajectory_alignment(make_rollout("click type", "tap input_text")) == pytest.approx(1.0)


def test_unreadable_steps_take_no_part(make_rollout):
    rollout = make_rollout("click type", "click type")
    first, last = rollout.plan.steps
    broken = Plan((first, PlanStep(None, None, None, 2, "not JSON"), last))
    assert trajectory_alignment(Rollout(rollout.step, rollout.response, broken)) == pytest.approx(1.0)


def test_a_tool_s_name_is_its_type(make_rollout):
    assert trajectory_alignment(make_rollout("ocr final_answer", "OCR final_answer")) == pytest.approx(1.0)
    assert trajectory_alignment(make_rollout("calculator final_answer", "ocr final_answer")) == pytest.approx(
        (0.8 + 0.2) / 2
    )


def test_a_written_reference_is_a_perfect_plan(make_rollout):
    rollout = make_rollout([], [Action("click", point=(1, 2)), Action("type", content="a"), Action("finished")])
    plan = parse_plan(format_plan(rollout.step.future))
    assert trajectory_alignment(Rollout(rollout.step, rollout.response, plan)) == pytest.approx(1.0)


def test_a_window_cut_before_the_end_misses_the_bonus_only(make_rollout):
    rollout = make_rollout("click type", "click type", done=False)
    assert rollout.plan.steps[-1].status == NOT_DONE
    assert trajectory_alignment(rollout) == pytest.approx(1.8 / 2)
