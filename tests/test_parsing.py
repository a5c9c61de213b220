"""Any text becomes a Plan; a plan survives being written and read; the time grows with the text."""

import json
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer1.actions import ACTION_TYPES, DIRECTIONS, action_to_wire, missing_arguments
from tracer1.alignment import is_valid_step, types_of
from tracer1.parsing import format_plan, format_step, parse_plan
from tracer1.schema import DONE, NOT_DONE, Action, Plan, PlanStep

SCHEMA = json.loads((Path(__file__).parents[1] / "src/tracer1/plan.schema.json").read_text(encoding="utf-8"))

GOOD = '{"screenshot_abstraction": "a page", "action": {"action_type": "click", "point": [512, 133]}, "status": "not done"}'
LAST = '{"screenshot_abstraction": "", "action": {"action_type": "finished"}, "status": "done"}'


def framed(answer: str) -> str:
    return f"<think>hm</think>\n<answer>{answer}</answer>"


def only_step(segment: str) -> PlanStep:
    (step,) = parse_plan(framed(f"Step 1: {segment}")).steps
    return step


# --- what is read ------------------------------------------------------------------------------------------------------


def test_a_well_formed_response():
    plan = parse_plan(framed(f"\nStep 3: {GOOD}\nStep 4: {LAST}\n"))
    assert plan.framed
    assert plan.thought == "hm"
    assert plan.error == ""
    assert plan.steps == (
        PlanStep(Action("click", point=(512, 133)), NOT_DONE, "a page", 3),
        PlanStep(Action("finished"), DONE, "", 4),
    )


def test_the_brace_less_form():
    plan = parse_plan(framed(f"Step 3: {GOOD[1:-1]}\nStep 4: {LAST[1:-1]},"))
    assert plan.steps == parse_plan(framed(f"Step 3: {GOOD} Step 4: {LAST}")).steps


def test_a_template_may_have_opened_the_think_block():
    text = framed(f"Step 1: {GOOD}").removeprefix("<think>")
    assert parse_plan(text, starts_in_think=True).framed
    assert not parse_plan(text).framed
    assert parse_plan(text).steps == parse_plan(text, starts_in_think=True).steps


def test_no_tags_means_no_steps():
    plan = parse_plan(f"Step 1: {GOOD}")
    assert (plan.steps, plan.framed, plan.error) == ((), False, "no <answer> block")
    assert parse_plan("") == Plan(error="no <answer> block")


def test_of_two_answer_blocks_the_last_is_read_but_not_framed():
    plan = parse_plan(f"<think></think><answer>Step 1: {LAST}</answer><answer>Step 1: {GOOD}</answer>")
    assert types_of(plan.steps) == ("click",)
    assert not plan.framed


@pytest.mark.parametrize(
    "text",
    [
        f"<answer>Step 1: {GOOD}</answer>",
        f"<answer>Step 1: {GOOD}</answer><think>late</think>",
        f"<think>a</think><think>b</think><answer>Step 1: {GOOD}</answer>",
        f"Well: <think>a</think><answer>Step 1: {GOOD}</answer>",
        f"<think>a</think> so <answer>Step 1: {GOOD}</answer>",
        f"<think>a</think><answer>Step 1: {GOOD}</answer> done",
        f"<think>a</think><answer>Step 1: {GOOD}",
    ],
)
def test_anything_but_one_think_and_one_answer_block_is_not_framed(text):
    plan = parse_plan(text)
    assert not plan.framed
    assert plan.error == "not one <think> block followed by one <answer> block"
    assert types_of(plan.steps) == ("click",)  # and is read all the same


def test_a_response_cut_by_the_token_limit_keeps_its_complete_steps():
    whole = f"<think>hm</think><answer>Step 1: {GOOD}\nStep 2: {LAST}"
    plan = parse_plan(whole[:-20])
    assert [step.readable for step in plan.steps] == [True, False]
    assert plan.steps[1].error.startswith("not JSON")
    assert plan.steps[1].number == 2
    for end in range(len(whole)):
        assert len(parse_plan(whole[:end]).steps) <= 2


def test_no_steps_are_no_error_but_said():
    plan = parse_plan(framed("I would click the box."))
    assert (plan.steps, plan.framed, plan.error) == ((), True, "no steps in the answer")


def test_more_steps_than_the_horizon_are_all_read():
    assert len(parse_plan(framed("\n".join(f"Step {k}: {GOOD}" for k in range(1, 41)))).steps) == 40


def test_of_duplicate_keys_the_last_counts():
    step = only_step(
        '{"status": "done", "screenshot_abstraction": "", "action": {"action_type": "wait"}, "status": "not done"}'
    )
    assert step.status == NOT_DONE


@pytest.mark.parametrize(
    "segment", [GOOD.replace('"', "'"), "{}}", "{", "[1]", "click the box", "NaN", '{"status": NaN}']
)
def test_what_is_not_json_is_an_unreadable_step(segment):
    step = only_step(segment)
    assert (step.action, step.status, step.screenshot_abstraction) == (None, None, None)
    assert step.error


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"action": "click"}, "no `action` object"),
        ({"action": None}, "no `action` object"),
        ({"action": ["click"]}, "no `action` object"),
        ({"action": {}}, "an action needs a string `action_type`"),
        ({"status": "Done"}, "`status` is neither 'done' nor 'not done'"),
        ({"status": ["done"]}, "`status` is neither 'done' nor 'not done'"),
        ({"screenshot_abstraction": 3}, "no string `screenshot_abstraction`"),
    ],
)
def test_a_bad_field_is_named_and_leaves_the_others(fields, error):
    good = {"screenshot_abstraction": "", "action": {"action_type": "wait"}, "status": "done"}
    step = only_step(json.dumps(good | fields))
    assert step.error == error
    read = {"screenshot_abstraction": step.screenshot_abstraction, "action": step.action, "status": step.status}
    assert [name for name, value in read.items() if value is None] == list(fields)
    assert not is_valid_step(step)


def test_a_bad_argument_leaves_the_type():
    # Stage 1 compares types only, so the step still counts; an executor finds its point missing.
    step = only_step(GOOD.replace("[512, 133]", "[512, 13300]"))
    assert step.action == Action("click")
    assert "within 0..1000" in step.error
    assert is_valid_step(step)
    assert missing_arguments(step.action) == ("point",)


def test_text_after_a_step_is_said_and_harmless():
    step = only_step(GOOD + " and then I wait")
    assert step.error == "text after the step: 'and then I wait'"
    assert step.action == Action("click", point=(512, 133))


def test_numbers_as_strings_in_points():
    assert only_step(GOOD.replace("[512, 133]", '["512", "133"]')).action.point == (512, 133)


def test_a_marker_or_a_brace_inside_a_string_divides_nothing():
    text = r"see \"Step 2: {\"a\": 1}\" and }} Step 9: {"
    plan = parse_plan(framed(f"Step 1: {GOOD.replace('a page', text)}\nStep 2: {LAST}"))
    assert plan.steps[0].screenshot_abstraction == 'see "Step 2: {"a": 1}" and }} Step 9: {'
    assert [step.number for step in plan.steps] == [1, 2]
    assert all(step.error == "" for step in plan.steps)


def test_a_string_left_open_does_not_swallow_the_next_line():
    plan = parse_plan(framed('Step 1: {"screenshot_abstraction": "oh\nStep 2: ' + LAST))
    assert [step.readable for step in plan.steps] == [False, True]


def test_unicode():
    action = Action("type", content="日本語 \U0001f600 \u2028 שלום ' \" \\ \n\t")
    (step,) = parse_plan(format_plan([PlanStep(action, DONE, "ünï")])).steps
    assert step == PlanStep(action, DONE, "ünï", 1)


def test_a_tag_inside_typed_text_survives():
    action = Action("type", content="</answer><answer>Step 1: {}</think>")
    plan = parse_plan(format_plan([PlanStep(action, DONE)]))
    assert plan.framed
    assert plan.steps[0].action == action


@pytest.mark.parametrize("digits", ["1" * 400, "1" * 5000, "1e999", "-1e999"])
def test_huge_numbers_are_bad_arguments(digits):
    step = only_step(GOOD.replace("512", digits))
    assert step.action == Action("click")
    assert step.error


def test_deep_nesting_is_data_at_any_depth():
    for depth in [*range(100, 1100, 25), 100_000]:  # around Python's recursion limit and far above
        for value in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth):
            for segment in (
                value,
                GOOD.replace("[512, 133]", value),
                GOOD.replace('"point"', '"content"').replace("[512, 133]", value),
            ):
                assert len(parse_plan(framed(f"Step 1: {segment}")).steps) == 1


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
