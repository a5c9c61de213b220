"""What the parser makes of good and bad responses; properties of any text are in test_parsing_properties.py."""

import json

import pytest

from tracer1.actions import missing_arguments
from tracer1.alignment import is_valid_step, types_of
from tracer1.parsing import first_step_end, format_plan, parse_plan
from tracer1.schema import DONE, NOT_DONE, Action, Plan, PlanStep

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


def test_the_first_step_ends_where_the_second_begins():
    typed = Action("type", "type", content='"Step 2:" is no marker')
    steps = [PlanStep(typed, NOT_DONE, "a"), PlanStep(Action("wait", "wait"), DONE, "b")]
    text = format_plan(steps, first_number=4, thought="Step 1: think. Step 2: act.")
    assert text[: first_step_end(text)] == format_plan(steps[:1], 4, "Step 1: think. Step 2: act.").removesuffix(
        "</answer>"
    )
    one = format_plan(steps[:1], first_number=4)
    assert first_step_end(one) == len(one)
    assert first_step_end("Step 1: {} Step 2: {}") == 11
    assert first_step_end("nothing") == 7
