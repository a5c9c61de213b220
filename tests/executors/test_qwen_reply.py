"""Qwen3-VL's tool calls become actions, all of computer_use and mobile_use; whatever else it writes becomes an error."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer1.actions import ACTION_TYPES, RELATIVE_1000
from tracer1.executors._qwen_prompt import _ARGUMENTS, _COMPUTER, _MOBILE
from tracer1.executors._qwen_reply import parse
from tracer1.executors._reply import BAD_ARGUMENTS, UNKNOWN_ACTION, UNREADABLE, Reply
from tracer1.schema import Action


def call(action: str, name: str = "computer_use", **arguments) -> str:
    wire = {"name": name, "arguments": {"action": action, **arguments}}
    return f"<tool_call>\n{json.dumps(wire)}\n</tool_call>"


def read(text: str) -> Reply:
    return parse(text, RELATIVE_1000)


EVERY = [
    ("left_click", {"coordinate": [5, 6]}, Action("click", point=(5, 6))),
    ("click", {"coordinate": [5, 6]}, Action("click", point=(5, 6))),
    ("double_click", {"coordinate": [5, 6]}, Action("left_double", point=(5, 6))),
    ("triple_click", {"coordinate": [5, 6]}, Action("left_double", point=(5, 6))),
    ("right_click", {"coordinate": [5, 6]}, Action("right_single", point=(5, 6))),
    ("mouse_move", {"coordinate": [5, 6]}, Action("hover", point=(5, 6))),
    ("long_press", {"coordinate": [5, 6], "time": 2}, Action("long_press", point=(5, 6))),
    ("left_click_drag", {"start_coordinate": [1, 2], "coordinate": [5, 6]}, Action("drag", point=(1, 2), end_point=(5, 6))),
    ("swipe", {"coordinate": [500, 800], "coordinate2": [500, 200]}, Action("scroll", point=(500, 800), direction="down")),
    ("swipe", {"coordinate": [100, 500], "coordinate2": [900, 520]}, Action("scroll", point=(100, 500), direction="left")),
    ("scroll", {"pixels": -300}, Action("scroll", direction="down")),
    ("scroll", {"pixels": 300, "coordinate": [5, 6]}, Action("scroll", point=(5, 6), direction="up")),
    ("hscroll", {"pixels": 300}, Action("scroll", direction="right")),
    ("hscroll", {"pixels": -0.5}, Action("scroll", direction="left")),
    ("type", {"text": "hello\n"}, Action("type", content="hello\n")),
    ("key", {"keys": ["Ctrl", "c"]}, Action("hotkey", key="ctrl c")),
    ("key", {"keys": "ctrl+c"}, Action("hotkey", key="ctrl c")),
    ("key", {"text": "volume_up"}, Action("hotkey", key="volume_up")),
    ("system_button", {"button": "Back"}, Action("press_back")),
    ("system_button", {"button": "Home"}, Action("press_home")),
    ("system_button", {"button": "Menu"}, Action("press_recent")),
    ("system_button", {"button": "Enter"}, Action("hotkey", key="enter")),
    ("open", {"text": "Clock"}, Action("open_app", app_name="Clock")),
    ("answer", {"text": "12"}, Action("finished", content="12")),
    ("wait", {"time": 3}, Action("wait")),
    ("terminate", {"status": "success"}, Action("finished")),
    ("terminate", {"status": "failure"}, Action("call_user")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "action"), EVERY)
def test_every_action(name: str, arguments: dict, action: Action):
    assert read(call(name, **arguments)) == Reply("", (action,))


def test_the_prompt_offers_what_is_read_and_the_arguments_it_needs():
    known = {name for name, _, _ in EVERY} | {"middle_click"}  # which has no counterpart
    assert set(_COMPUTER) | set(_MOBILE) == known
    used = {key for _, arguments, _ in EVERY for key in arguments} - {"start_coordinate"}
    assert used == {key for tool in _ARGUMENTS.values() for key in tool}


def test_a_move_and_a_drag_are_one_action():
    move, drag = call("mouse_move", coordinate=[1, 2]), call("left_click_drag", coordinate=[3, 4])
    dragged = Action("drag", point=(1, 2), end_point=(3, 4))
    assert read(move + "\n" + drag).actions == (dragged,)
    assert read(move + drag + call("wait")).actions == (dragged, Action("wait"))
    assert read(move + call("wait")).actions == (Action("hover", point=(1, 2)), Action("wait"))
    assert read(drag).error == "drag lacks point"


@pytest.mark.parametrize(
    ("head", "thought"),
    [
        ("", ""),
        ("Thought: the button is red.\n", "the button is red."),
        ("<think>\nlong\n</think>\n\nThought: press it\n", "long\npress it"),
        ("which <tool_call> shall it be?</think>\n", "which <tool_call> shall it be?"),  # the template opened the block
    ],
)
def test_the_thought(head: str, thought: str):
    assert read(head + call("wait")) == Reply(thought, (Action("wait"),))


@pytest.mark.parametrize(
    "text",
    [
        call("wait").removesuffix("</tool_call>"),
        call("wait").removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"),
        call("wait") + "<|im_end|>",
        '<tool_call>{"name": "mobile_use", "arguments": "{\\"action\\": \\"wait\\"}"}</tool_call>',
        call(" Wait "),
    ],
)
def test_ways_to_write_a_call(text: str):
    assert read(text).actions == (Action("wait"),)


def test_a_box_is_its_middle_and_later_calls_are_kept():
    reply = read(call("left_click", coordinate=[10, 20, 30, 40]) + call("type", text="x") + "<tool_call>{</tool_call>")
    assert reply.actions == (Action("click", point=(20, 30)), Action("type", content="x"))
    assert reply.kind == UNREADABLE


@pytest.mark.parametrize(
    ("text", "kind", "error"),
    [
        ("", UNREADABLE, "no action in the reply"),
        ("Click the button.", UNREADABLE, "no action in the reply"),
        ("<tool_call>", UNREADABLE, "no action in the reply"),
        ("<tool_call>click</tool_call>", UNREADABLE, "not a tool call: JSONDecodeError: 'click'"),
        ("<tool_call>[1]</tool_call>", UNREADABLE, "not a tool call: TypeError"),
        ('<tool_call>{"name": "x"}</tool_call>', UNREADABLE, "not a tool call: KeyError"),
        ('<tool_call>{"arguments": {}}</tool_call>', UNREADABLE, "a tool call without an action"),
        ('<tool_call>{"arguments": {"action": 3}}</tool_call>', UNREADABLE, "a tool call without an action"),
        ("<tool_call>" + "[" * 100_000, UNREADABLE, "not a tool call: RecursionError"),
        (call("fly"), UNKNOWN_ACTION, "no action 'fly'"),
        (call("middle_click", coordinate=[1, 2]), UNKNOWN_ACTION, "no action 'middle_click'"),
        (call("system_button", button="Power"), UNKNOWN_ACTION, "button 'Power'"),
        (call("left_click"), BAD_ARGUMENTS, "click lacks point"),
        (call("left_click", coordinate=[1]), BAD_ARGUMENTS, "two or four numbers, got 1"),
        (call("left_click", coordinate="1, 2"), BAD_ARGUMENTS, "a list of numbers, got '1, 2'"),
        (call("left_click", coordinate=[True, 2]), BAD_ARGUMENTS, "a list of numbers"),
        (call("left_click", coordinate=[float("nan"), 2]), BAD_ARGUMENTS, "two or four numbers"),
        (call("left_click", coordinate=[10**400, 2]), BAD_ARGUMENTS, "two or four numbers"),
        (call("left_click", coordinate=[1001, 2]), BAD_ARGUMENTS, "(1001, 2) lies outside"),
        (call("swipe", coordinate=[1, 2], coordinate2=[1, 2]), BAD_ARGUMENTS, "zero length"),
        (call("swipe", coordinate=[1, 2]), BAD_ARGUMENTS, "scroll lacks direction"),
        (call("scroll", pixels=0), BAD_ARGUMENTS, "a number other than 0"),
        (call("scroll", pixels=float("nan")), BAD_ARGUMENTS, "a number other than 0"),
        (call("scroll"), BAD_ARGUMENTS, "a number other than 0, got None"),
        (call("type"), BAD_ARGUMENTS, "type lacks content"),
        (call("key"), BAD_ARGUMENTS, "hotkey lacks key"),
        (call("key", keys={"a": 1}), BAD_ARGUMENTS, "keys are a list"),
        (call("open"), BAD_ARGUMENTS, "open_app lacks app_name"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, kind: str, error: str):
    reply = read(text)
    assert (reply.actions, reply.kind) == ((), kind)
    assert error in reply.error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("coordinate", "coordinate2", "start_coordinate", "text", "keys", "pixels", "button", "status", "time")
CALLS = st.builds(
    lambda name, arguments: call(name, **arguments),
    st.sampled_from([*_COMPUTER, *_MOBILE, "fly"]),
    st.dictionaries(st.sampled_from(KEYS), JSON),
)
PIECES = st.sampled_from(
    ("<tool_call>", "</tool_call>", "{", "}", '"arguments"', ":", "<think>", "</think>", "\n", '"')
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), st.lists(CALLS | PIECES).map("".join)))
def test_any_text_gives_a_reply(text: str):
    reply = read(text)
    assert bool(reply.error) == bool(reply.kind)
    assert reply.actions or reply.error
    for action in reply.actions:
        assert action.action_type in ACTION_TYPES
        assert action.point is None or all(0 <= v <= 1000 for v in action.point)


@pytest.mark.parametrize(
    "piece", ["<tool_call>", "</tool_call>", "{", " ", "</think>", call("wait"), call("mouse_move", coordinate=[1, 2])]
)
def test_it_takes_time_in_proportion_to_the_text(piece: str):
    text = piece * (400_000 // len(piece))
    begin = time.perf_counter()
    read(text)
    read("<tool_call>" + text)
    assert time.perf_counter() - begin < 4
