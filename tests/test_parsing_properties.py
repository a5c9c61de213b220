"""Any text becomes a Plan; a plan survives being written and read; the time grows with the text."""

import json
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer1.actions import ACTION_TYPES, DIRECTIONS, action_to_wire
from tracer1.parsing import format_plan, format_step, parse_plan
from tracer1.schema import DONE, NOT_DONE, Action, Plan, PlanStep

SCHEMA = json.loads((Path(__file__).parents[1] / "src/tracer1/plan.schema.json").read_text(encoding="utf-8"))

GOOD = '{"screenshot_abstraction": "a page", "action": {"action_type": "click", "point": [512, 133]}, "status": "not done"}'
LAST = '{"screenshot_abstraction": "", "action": {"action_type": "finished"}, "status": "done"}'

# --- any text ----------------------------------------------------------------------------------------------------------

FRAGMENTS = ["<think>", "</think>", "<answer>", "</answer>", "Step 1:", "Step 22 :", "step", "{", "}", "[", "]", '"', "'", "\\", "\n",
             ",", ":", GOOD, LAST, GOOD[:-1], '"action"', '"status": "done"', "1e999", "NaN", "null", "é", " "]  # fmt: skip
ANY_TEXT = st.text() | st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=40).map("".join)


@given(ANY_TEXT, st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_plan(text, starts_in_think):
    plan = parse_plan(text, starts_in_think)
    assert isinstance(plan, Plan)
    for step in plan.steps:
        assert step.readable or step.error
        assert isinstance(step.number, int)
        format_step(step, 1)


# --- there and back ----------------------------------------------------------------------------------------------------

POINTS = st.tuples(st.integers(0, 1000).map(float), st.integers(0, 1000).map(float))
KEYS = st.lists(st.sampled_from(["ctrl", "shift", "c", "enter", "f5"]), min_size=1, max_size=3).map(" ".join)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)
ARGUMENTS = {
    "point": POINTS, "end_point": POINTS, "content": st.text(), "key": KEYS, "direction": st.sampled_from(DIRECTIONS),
    "app_name": st.text(),
}  # fmt: skip


@st.composite
def actions(draw) -> Action:
    """Any action with its required arguments, some optional ones, and any text."""
    instruction = draw(st.text())
    name = draw(st.sampled_from([*ACTION_TYPES, "image_qa", "python_interpreter"]))
    if name not in ACTION_TYPES:
        arguments = draw(st.none() | st.dictionaries(st.text(), JSON_VALUES, max_size=3))
        return Action(name, instruction, arguments=arguments, code=draw(st.none() | st.text()))
    row = ACTION_TYPES[name]
    given_names = [*row.required, *(optional for optional in row.optional if draw(st.booleans()))]
    return Action(name, instruction, **{argument: draw(ARGUMENTS[argument]) for argument in given_names})


PLAN_STEPS = st.builds(PlanStep, actions(), st.sampled_from([DONE, NOT_DONE]), st.text())


@given(st.lists(PLAN_STEPS, min_size=1, max_size=6), st.integers(1, 99))
@settings(max_examples=200, deadline=None)
def test_a_plan_survives_being_written_and_read(steps, first_number):
    plan = parse_plan(format_plan(steps, first_number, thought="first this"))
    assert plan.framed
    assert plan.thought == "first this"
    assert plan.steps == tuple(replace(step, number=first_number + i) for i, step in enumerate(steps))


@given(PLAN_STEPS)
@settings(max_examples=150, deadline=None)
def test_what_is_written_fits_the_schema(step):
    wire = json.loads(format_step(step, 7).removeprefix("Step 7: "))
    assert wire["action"] == action_to_wire(step.action)
    jsonschema.validate([wire], SCHEMA)


@pytest.mark.parametrize("name", [name for name, row in ACTION_TYPES.items() if row.required])
def test_the_schema_refuses_an_action_that_lacks_an_argument(name):
    wire = {"screenshot_abstraction": "", "action": {"action_type": name}, "status": "done"}
    with pytest.raises(jsonschema.ValidationError, match="is a required property"):
        jsonschema.validate([wire], SCHEMA)


# --- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    ['"', '\\"', '"a\\', "\\", '"\n', "Step ", "Step 1", "Step 1:", "Step 1: {", 'Step 1: {"a": "', "Step 1: {}", "{", '{"a":', "[", " ",
     "<answer>", "<think>", "</think>", "1", "Step 1: \"x' "],
)  # fmt: skip
def test_time_is_linear_in_the_text(pattern):
    def seconds(characters: int) -> float:
        text = (
            "<think>"
            + pattern * (characters // len(pattern))
            + "</think><answer>Step 1: "
            + pattern * (characters // len(pattern))
        )
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            parse_plan(text)
            best = min(best, time.process_time() - started)
        return best

    # Eight times the text: 8 x the time if linear, 64 x if quadratic. The floor keeps the clock's grain out of it.
    assert seconds(160_000) < 24 * max(seconds(20_000), 0.002)
