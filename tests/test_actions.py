"""The action table: aliases, arguments, coordinate spaces, scrolling and matching."""

import json
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest

from tracer1.actions import (
    ACTION_TYPES,
    ALIASES,
    PLACE_TYPES,
    RELATIVE_1000,
    UNIT,
    action_from_wire,
    action_to_wire,
    canonical_type,
    describe,
    direction_of_path,
    in_box,
    matches,
    missing_arguments,
    pixels,
    place_matches,
    smart_resized,
    type_names,
)
from tracer1.schema import Action

SCHEMA = json.loads((Path(__file__).parents[1] / "src/tracer1/plan.schema.json").read_text(encoding="utf-8"))

# --- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("tap", "click"), ("left_click", "click"), ("left_single", "click"), ("double_click", "left_double"),
        ("right_click", "right_single"), ("input_text", "type"), ("write", "type"), ("fill", "type"), ("text", "type"),
        ("swipe", "scroll"), ("press", "hotkey"), ("key", "hotkey"), ("navigate_back", "press_back"), ("back", "press_back"),
        ("navigate_home", "press_home"), ("home", "press_home"), ("open", "open_app"), ("terminate", "finished"),
        ("complete", "finished"), ("impossible", "call_user"), ("incomplete", "call_user"),
        (" Click ", "click"), ("TAP", "click"), ("Image_QA", "image_qa"),
    ],
)  # fmt: skip
def test_aliases(given, canonical):
    assert canonical_type(given) == canonical


def test_aliases_lead_to_rows_and_hide_none():
    assert set(ALIASES.values()) <= ACTION_TYPES.keys()
    assert not ALIASES.keys() & ACTION_TYPES.keys()


def test_rows_name_only_fields_of_an_action():
    known = {field.name for field in fields(Action)}
    for row in ACTION_TYPES.values():
        assert {*row.required, *row.optional} <= known
        assert set(row.platforms) <= {"desktop", "mobile", "web", "tool"}


def test_place_types_are_those_that_need_a_point():
    assert {name for name, row in ACTION_TYPES.items() if "point" in row.required} == PLACE_TYPES


def test_the_prompt_lists_a_platform_s_own_types():
    assert "- click(point): press the left button (tap) at a place" in describe("mobile").splitlines()
    assert "- select(point, content?): open a list or pick an option" in describe("web").splitlines()
    assert "open_app" not in describe("desktop")
    assert "wait" in type_names("mobile")  # AndroidControl needs it
    assert "hotkey" not in type_names("mobile")
    assert type_names("tool") == ("final_answer",)


# --- wire form ---------------------------------------------------------------------------------------------------------


def test_arguments_are_read_and_normalised():
    action = action_from_wire({"action_type": "left_click", "step_instruction": "open it", "point": ["512", 133.5]})
    assert action == Action("click", "open it", point=(512.0, 133.5))
    assert action_from_wire({"action_type": "press", "key": "Ctrl+C"}).key == "ctrl c"
    assert action_from_wire({"action_type": "open", "app": "Zoho Meeting"}).app_name == "Zoho Meeting"
    assert action_from_wire({"action_type": "drag", "start": [1, 2], "end": [3, 4]}) == Action(
        "drag", point=(1, 2), end_point=(3, 4)
    )
    assert action_from_wire({"action_type": "input_text", "text": 7}).content == "7"
    assert action_from_wire({"action_type": "wait", "point": None}) == Action("wait")
    assert action_from_wire({"action_type": "ocr", "arguments": {"image": "a.png"}}).arguments == {"image": "a.png"}


def test_a_swipe_is_a_finger_s_path_and_a_scroll_is_not():
    assert action_from_wire({"action_type": "scroll", "direction": "Down"}).direction == "down"
    assert action_from_wire({"action_type": "swipe", "direction": "up"}) == Action("scroll", direction="down")
    assert action_from_wire({"action_type": "SWIPE", "direction": "left"}).direction == "right"


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ({}, "needs a string `action_type`"),
        ({"action_type": 3}, "needs a string `action_type`"),
        ({"action_type": " "}, "needs a string `action_type`"),
        ({"action_type": "click", "point": [1]}, r"a point is \[x, y\]"),
        ({"action_type": "click", "point": "1, 2"}, r"a point is \[x, y\]"),
        ({"action_type": "click", "point": [1, True]}, "two numbers"),
        ({"action_type": "click", "point": [1, "two"]}, "could not convert"),
        ({"action_type": "click", "point": [1, 1001]}, r"within 0\.\.1000"),
        ({"action_type": "click", "point": [-1, 2]}, r"within 0\.\.1000"),
        ({"action_type": "click", "point": ["nan", 2]}, r"within 0\.\.1000"),
        ({"action_type": "type", "content": ["a"]}, "`content` is text"),
        ({"action_type": "scroll", "direction": "sideways"}, "a direction is one of up, down, left, right"),
    ],
)
def test_bad_arguments(wire, message):
    with pytest.raises(ValueError, match=message):
        action_from_wire(wire)


def test_missing_arguments_are_no_error_but_known():
    assert missing_arguments(action_from_wire({"action_type": "drag", "point": [1, 2]})) == ("end_point",)
    assert missing_arguments(Action("scroll")) == ("direction",)
    assert missing_arguments(Action("press_home")) == ()
    assert missing_arguments(Action("image_qa")) == ()  # a tool: its schema is the toolbox's


def test_the_wire_form_leaves_out_what_is_not_set():
    assert action_to_wire(Action("click", point=(511.6, 133.2))) == {"action_type": "click", "point": [512, 133]}
    assert action_to_wire(Action("wait", "wait")) == {"action_type": "wait", "step_instruction": "wait"}


def test_the_schema_demands_what_the_table_demands():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    rules = SCHEMA["$defs"]["action"]["allOf"]
    demanded = {rule["if"]["properties"]["action_type"]["const"]: tuple(rule["then"]["required"]) for rule in rules}
    assert demanded == {name: row.required for name, row in ACTION_TYPES.items() if row.required}
    assert SCHEMA["$defs"]["action"]["properties"].keys() == {field.name for field in fields(Action)}


# --- coordinate spaces -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "resized"),  # the values that UI-TARS' own resize gives
    [(1080, 1920, (1092, 1932)), (2400, 1080, (2408, 1092)), (720, 1280, (728, 1288))],
)
def test_smart_resize(height, width, resized):
    space = smart_resized(width, height, 28, 100 * 28**2, 16384 * 28**2)
    assert (space.height, space.width) == resized


def test_smart_resize_keeps_the_area_within_its_limits():
    # 56 x 56 = 3136 grows by sqrt(78400 / 3136) = 5 to 280 x 280, a multiple of 28 already
    assert smart_resized(56, 56, 28, 100 * 28**2, 16384 * 28**2) == pixels(280, 280)
    # 7000 x 7000 shrinks by 7000 / 3584 to 3584 x 3584 = 16384 * 28^2, the limit itself
    assert smart_resized(7000, 7000, 28, 100 * 28**2, 16384 * 28**2) == pixels(3584, 3584)
    with pytest.raises(ValueError, match="at most 200, got 2010 x 10"):
        smart_resized(2010, 10, 28, 100 * 28**2, 16384 * 28**2)


def test_spaces_convert_both_ways():
    assert UNIT.to_thousand((0.25, 1)) == (250, 1000)
    assert RELATIVE_1000.to_thousand((512, 133)) == (512, 133)
    assert pixels(1080, 2400).to_thousand((540, 600)) == (500, 250)
    assert pixels(1080, 2400).from_thousand((500, 250)) == (540, 600)
    assert smart_resized(1920, 1080, 28, 78400, 12845056).to_thousand((966, 546)) == (500, 500)


# --- scrolling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "revealed"),
    [
        ((500, 800), (500, 200), "down"),  # the finger goes up
        ((500, 200), (500, 800), "up"),
        ((200, 500), (800, 500), "left"),
        ((800, 500), (200, 500), "right"),
        ((0, 0), (10, 10), "up"),  # a tie is vertical
        ((0, 0), (11, 10), "left"),
    ],
)
def test_a_path_reveals_the_opposite_side(start, end, revealed):
    assert direction_of_path(start, end) == revealed


def test_a_path_of_no_length_has_no_direction():
    with pytest.raises(ValueError, match="zero length"):
        direction_of_path((5, 5), (5, 5))


# --- matching ----------------------------------------------------------------------------------------------------------


def test_a_box_s_edges_count():
    assert in_box((10, 20), (10, 20, 30, 40))
    assert in_box((30, 40), (10, 20, 30, 40))
    assert not in_box((30.1, 40), (10, 20, 30, 40))


def test_a_place_is_in_any_box_or_near_where_there_is_none():
    boxes = [(0, 0, 10, 10), (900, 900, 1000, 1000)]
    assert place_matches((950, 950), None, boxes)
    assert not place_matches((11, 5), (11, 5), boxes)  # a box, where there is one, is the only judge
    assert place_matches((84, 112), (0, 0), ())  # 84, 112, 140: exactly 14 %
    assert not place_matches((85, 112), (0, 0), ())
    assert place_matches((85, 112), (0, 0), (), distance=150)
    assert not place_matches(None, (0, 0), ())
    assert not place_matches((0, 0), None, ())


@pytest.mark.parametrize(
    ("predicted", "reference", "match"),
    [
        (Action("click", point=(100, 100)), Action("click", point=(110, 90)), True),
        (Action("click", point=(100, 100)), Action("click", point=(500, 90)), False),
        (Action("click"), Action("click", point=(500, 90)), False),
        (Action("left_double", point=(100, 100)), Action("click", point=(100, 100)), False),
        (Action("tap", point=(100, 100)), Action("click", point=(100, 100)), True),
        (
            Action("click", point=(1, 1), content="a button"),
            Action("click", point=(1, 1)),
            True,
        ),  # not a click's argument
        (Action("drag", point=(1, 1), end_point=(900, 1)), Action("drag", point=(1, 1), end_point=(910, 1)), True),
        (Action("drag", point=(1, 1), end_point=(500, 1)), Action("drag", point=(1, 1), end_point=(910, 1)), False),
        (Action("type", content=" hello  world\n"), Action("type", content="hello world"), True),
        (Action("type", content="hello"), Action("type", content="hello world"), False),
        (Action("type", content="a", point=(1, 1)), Action("type", content="a", point=(900, 900)), True),
        (Action("select", point=(1, 1), content="2"), Action("select", point=(1, 1), content="3"), False),
        (Action("hotkey", key="c ctrl"), Action("hotkey", key="ctrl c"), True),
        (Action("hotkey", key="ctrl"), Action("hotkey", key="ctrl c"), False),
        (Action("scroll", direction="up"), Action("scroll", direction="up", point=(1, 1)), True),
        (Action("scroll", direction="up"), Action("scroll", direction="down"), False),
        (Action("open_app", app_name="Maps"), Action("open_app", app_name="Mail"), False),
        (Action("goto", content="https://a.org"), Action("goto", content="https://a.org"), True),
        (Action("wait"), Action("wait"), True),
        (Action("finished", content="bye"), Action("finished"), True),
        (Action("call_user", content="it is gone"), Action("call_user", content="I cannot find it"), True),
        (Action("final_answer", content="41"), Action("final_answer", content="42"), False),
        (Action("ocr", arguments={"image": "a"}), Action("ocr", arguments={"image": "a"}), True),
        (Action("ocr", arguments={"image": "b"}), Action("ocr", arguments={"image": "a"}), False),
        (Action("ocr", code="ocr(1)"), Action("ocr", code="ocr( 1 )"), True),  # code is compared by what it answers
    ],
)
def test_matches(predicted, reference, match):
    assert matches(predicted, reference) is match


def test_a_match_uses_the_boxes():
    expert = Action("click", point=(100, 100))
    assert matches(Action("click", point=(300, 300)), expert, boxes=[(290, 290, 310, 310)])
    assert not matches(Action("click", point=(100, 100)), expert, boxes=[(290, 290, 310, 310)])
