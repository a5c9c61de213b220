"""What every registered reward promises: a finite number in 0..1 for any text, and no surprise for an empty plan."""

import inspect
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracer1.parsing import parse_plan
from tracer1.rewards import REWARDS, build_reward
from tracer1.schema import Action, Outcome, Plan

STEP = 'Step %d: {"screenshot_abstraction": "", "action": {"action_type": "%s"}, "status": "%s"}\n'
STEPS = st.builds(
    lambda k, kind, status: STEP % (k, kind, status),
    st.integers(0, 30),
    st.sampled_from(["click", "tap", "type", "wait", "finished", "ocr", ""]),
    st.sampled_from(["done", "not done", "?"]),
)
ANSWERS = st.lists(STEPS | st.text(max_size=8), max_size=12).map(
    lambda parts: f"<think></think><answer>{''.join(parts)}</answer>"
)
OUTCOMES = st.sampled_from(
    [
        Outcome(error="lost", score=0.0),
        Outcome(Action("click", point=(5.0, 5.0)), score=1.0),
        Outcome(answer="42", score=0.5),
        Outcome(score=0.0),
    ]
)
NAMES = [name for name in REWARDS.names() if REWARDS.get(name).__module__.startswith("tracer1.")]  # not other tests'


def test_the_rewards_of_the_method_are_there():
    assert {"trajectory_alignment", "discounted_alignment", "format", "repetition", "coordinate_match"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@given(text=ANSWERS | st.text(), outcome=OUTCOMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_a_number_in_range(name, text, outcome, make_rollout):
    for reference in ("click", "click type click finished"):
        rollout = replace(make_rollout("", reference, outcome=outcome), plan=parse_plan(text))
        total, terms = build_reward({name: {}})(rollout)
        assert 0.0 <= terms[name] <= 1.0
        assert total == terms[name]
        assert build_reward({name: {}})(rollout) == (total, terms)  # pure: the same rollout, the same value


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_plan_is_survived(name, make_rollout):
    rollout = replace(make_rollout("", outcome=Outcome(error="the plan has no steps", score=0.0)), plan=Plan())
    assert build_reward({name: {}})(rollout)[0] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_keyword_only_and_have_defaults(name):
    _, *others = inspect.signature(REWARDS.get(name)).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in others)
    assert inspect.getdoc(REWARDS.get(name))
