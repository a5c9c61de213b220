"""UI-TARS's replies in all of their syntaxes become actions; whatever else a model writes becomes an error, quickly."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer1.actions import ACTION_TYPES, RELATIVE_1000, smart_resized
from tracer1.executors._reply import BAD_ARGUMENTS, UNKNOWN_ACTION, UNREADABLE, Reply
from tracer1.executors._ui_tars_reply import parse
from tracer1.schema import Action

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "ui_tars" / "training_example.json"


def read(text: str) -> Reply:
    return parse(text, RELATIVE_1000)


def first(text: str) -> Action:
    reply = read(f"Thought: so it is.\nAction: {text}")
    assert not reply.error, reply
    assert reply.thought == "so it is."
    return reply.actions[0]


@pytest.mark.parametrize(
    "place",
    [
        "start_box='(495,30)'",
        "start_box='<|box_start|>(495,30)<|box_end|>'",
        "start_box='<|box_start|>(495, 30)<|box_end|>'",
        'start_box="(495,30)"',
        "start_box=(495,30)",
        "start_box='[495,30]'",
        "start_box='(490,20,500,40)'",
        "start_box='[490, 20, 500, 40]'",
        "start_box='<bbox>490 20 500 40</bbox>'",
        "point='<point>495 30</point>'",
        "point='<point>495 30</point>''",  # as UI-TARS's grounding prompt misspells it
        "start_point='<point>495 30</point>'",
        "start_box='495 30'",
        "start_box = '(495.0,30.0)' ",
    ],
)
def test_every_way_to_write_a_place(place: str):
    assert first(f"click({place})") == Action("click", point=(495, 30))


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ("left_single(start_box='(1,2)')", Action("click", point=(1, 2))),
        ("left_double(start_box='(1,2)')", Action("left_double", point=(1, 2))),
        ("right_single(start_box='(1,2)')", Action("right_single", point=(1, 2))),
        ("hover(start_box='(1,2)')", Action("hover", point=(1, 2))),
        ("select(start_box='(1,2)')", Action("select", point=(1, 2))),
        ("long_press(start_box='(1,2)', time='3')", Action("long_press", point=(1, 2))),
        ("long_press(start_box='(1,2)', time='')", Action("long_press", point=(1, 2))),
        ("drag(start_box='(1,2)', end_box='(3,4)')", Action("drag", point=(1, 2), end_point=(3, 4))),
        ("drag(start_point='<point>1 2</point>', end_point='<point>3 4</point>')", Action("drag", point=(1, 2), end_point=(3, 4))),
        ("hotkey(key='ctrl c')", Action("hotkey", key="ctrl c")),
        ("hotkey(key='Ctrl+Shift+ArrowLeft')", Action("hotkey", key="ctrl shift left")),
        ("press(key='enter')", Action("hotkey", key="enter")),
        ("keydown(key='esc')", Action("hotkey", key="esc")),
        ("scroll(start_box='(5,6)', direction='down')", Action("scroll", point=(5, 6), direction="down")),
        ("scroll(direction='up')", Action("scroll", direction="up")),
        ("scroll(start_box='(500,800)', end_box='(500,200)')", Action("scroll", point=(500, 800), direction="down")),
        ("scroll(start_box='(900,500)', end_box='(100,500)')", Action("scroll", point=(900, 500), direction="right")),
        ("type(content='hello')", Action("type", content="hello")),
        ("type(content='', start_box='(1,2)')", Action("type", content="", point=(1, 2))),
        ("type(content='')", Action("type", content="")),
        ("open_app(app_name='Zoho Meeting')", Action("open_app", app_name="Zoho Meeting")),
        ("open_app(name='Clock')", Action("open_app", app_name="Clock")),
        ("press_home()", Action("press_home")),
        ("press_back()", Action("press_back")),
        ("wait()", Action("wait")),
        ("wait(time='5')", Action("wait")),
        ("finished()", Action("finished")),
        ("finished(content='all done')", Action("finished", content="all done")),
        ("call_user()", Action("call_user")),
    ],
)  # fmt: skip
def test_every_action(call: str, action: Action):
    assert first(call) == action


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"it\'s", "it's"),
        ("it's", "it's"),
        (r"say \"hi\"", 'say "hi"'),
        ('say "hi"', 'say "hi"'),
        (r"send\n", "send\n"),
        ("two\nlines", "two\nlines"),
        (r"C:\\temp", "C:\\temp"),
        (r"C:\dir", r"C:\dir"),
        (r"ends with \\", "ends with \\"),
        ("print('hi')", "print('hi')"),
        ("f('x') + g('y')", "f('x') + g('y')"),
        ("a, b=c", "a, b=c"),
        ("a) b(", "a) b("),
        ("naïve 数 \U0001f600", "naïve 数 \U0001f600"),
        ("Action: click(start_box=", "Action: click(start_box="),
        ("", ""),
    ],
)
def test_what_is_typed_arrives_as_it_was_meant(written: str, meant: str):
    assert first(f"type(content='{written}')").content == meant
    if '"' not in written.replace('\\"', ""):
        assert first(f'type(content="{written}")').content == meant


def test_several_actions_are_kept_in_order():
    text = "click(start_box='(1,2)')\n\ntype(content='a')\n\nhotkey(key='enter')"
    for gap in ("\n\n", "\n", " ", "; "):
        reply = read(f"Thought: all at once\nAction: {text}".replace("\n\n", gap))
        assert reply.actions == (
            Action("click", point=(1, 2)),
            Action("type", content="a"),
            Action("hotkey", key="enter"),
        )


def test_a_broken_later_action_leaves_the_first():
    reply = read("Action: click(start_box='(1,2)')\n\ntype(content='a")
    assert reply.actions == (Action("click", point=(1, 2)),)
    assert "a value has no end" in reply.error


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("Thought: I see\na list.\nAction: wait()", "I see\na list."),
        ("Reflection: that went wrong. Action_Summary: wait a little\nAction: wait()", "wait a little"),
        ("Action_Summary: wait a little\nAction: wait()", "wait a little"),
        ("Action: wait()", ""),
        ("I would wait.\nAction: wait()", "I would wait."),
        ("Thought: press it. Action: wait()", "press it."),  # on one line
        ("wait()", ""),
        ("```\nThought: so\nAction: wait()\n```", "so"),
        ("Thought: so\nAction:\nwait()<|im_end|>", "so"),
        ("Thought: so\n  Action:wait() [EOS]", "so"),
    ],
)
def test_the_thought_and_what_stands_around_a_reply(text: str, thought: str):
    reply = read(text)
    assert (reply.actions, reply.error) == ((Action("wait"),), "")
    assert reply.thought.strip("`\n ") == thought


def test_of_several_blocks_the_last_one_counts():
    reply = read("Thought: a\nAction: wait()\nThought: b\nAction: press_home()")
    assert reply == Reply("a", (Action("press_home"),))
    assert read("Thought: the Action: is open\nAction: wait()").actions == (Action("wait"),)


def test_a_last_bracket_may_be_missing():
    assert first("click(start_box='(1,2)'") == Action("click", point=(1, 2))
    assert first("type(content='it's'\n") == Action("type", content="it's")


def test_a_bare_place_is_a_click():
    for text in ("(235, 512)", "<|box_start|>(235,512)<|box_end|>", "Action: (235,512)", "<point>235 512</point>\n"):
        assert read(text).actions == (Action("click", point=(235, 512)),)


@pytest.mark.parametrize(
    ("text", "kind", "error"),
    [
        ("", UNREADABLE, "no action in the reply"),
        ("I cannot help with that.", UNREADABLE, "no action in the reply"),
        ("Action: click", UNREADABLE, "no action in the reply"),
        ("Action: click(", UNREADABLE, "breaks off"),
        ("Action: click(start_box='(1,2", UNREADABLE, "a value has no end"),
        ("Action: click('(1,2)')", UNREADABLE, "breaks off or is misspelt at \"'(1,2)')\""),
        ("Action: type(content='abc", UNREADABLE, 'a value has no end: "\'abc"'),
        ("Action: fly(start_box='(1,2)')", UNKNOWN_ACTION, "no action 'fly'"),
        ("Action: release(key='a')", UNKNOWN_ACTION, "no action 'release'"),
        ("Action: final_answer(content='4')", UNKNOWN_ACTION, "no action 'final_answer'"),
        ("Action: click()", BAD_ARGUMENTS, "click lacks point"),
        ("Action: click(start_box='')", BAD_ARGUMENTS, "click lacks point"),
        ("Action: click(start_box='(1)')", BAD_ARGUMENTS, "two or four numbers, got 1"),
        ("Action: click(start_box='(x1,y1)')", BAD_ARGUMENTS, "not a place: '(x1,y1)'"),
        ("Action: click(start_box='(1200,2)')", BAD_ARGUMENTS, "click: (1200, 2) lies outside of the screenshot"),
        ("Action: click(start_box='(-3,2)')", BAD_ARGUMENTS, "(-3, 2) lies outside"),
        (f"Action: click(start_box='({'9' * 400},2)')", BAD_ARGUMENTS, "two or four numbers"),
        ("Action: drag(start_box='(1,2)')", BAD_ARGUMENTS, "drag lacks end_point"),
        ("Action: scroll(start_box='(1,2)')", BAD_ARGUMENTS, "scroll lacks direction"),
        ("Action: scroll(direction='down or up')", BAD_ARGUMENTS, "scroll: a direction is one of"),
        ("Action: scroll(start_box='(1,2)', end_box='(1,2)')", BAD_ARGUMENTS, "zero length"),
        ("Action: hotkey(key='')", BAD_ARGUMENTS, "hotkey lacks key"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, kind: str, error: str):
    reply = read(text)
    assert (reply.actions, reply.kind) == ((), kind)
    assert error in reply.error


def test_pixels_of_the_resized_screenshot():
    # 1920 x 1080 becomes 1932 x 1092 for a factor of 28
    space = smart_resized(1920, 1080, 28, 100 * 28**2, 16384 * 28**2)
    assert parse("Action: click(start_box='(966,273)')", space).actions == (Action("click", point=(500, 250)),)
    assert parse("Action: click(point='<point>1932 1092</point>')", space).actions[0].point == (1000, 1000)
    assert "lies outside" in parse("Action: click(start_box='(1933,0)')", space).error


PIECES = (
    *("Thought:", "Action:", "Action: ", "\n", "\n\n", " ", "'", '"', "\\", "\\'", "(", ")", "=", ",", "[", "]", "<point>", "</point>"),
    *("<|box_start|>", "<|box_end|>", "click(", "type(content='", "start_box='(1,2)'", "point=", "')", "1", "999999", "x", "`", ";"),
    *("scroll(", "direction='up'", "end_box=", "key='ctrl", "[EOS]", "\u2028", "\ud800", "é"),
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text_gives_a_reply(text: str):
    reply = read(text)
    assert bool(reply.error) == bool(reply.kind)
    assert reply.actions or reply.error
    for action in reply.actions:
        assert action.action_type in ACTION_TYPES
        assert action.point is None or all(0 <= v <= 1000 for v in action.point)


@pytest.mark.parametrize(
    "piece",
    [
        *("'", "\\", "'\\", " ", "\n", "(", "Action: ", "\nAction: ", "\nAction: type(content='a') x", "type(content='a') x", "a='b',"),
        *("click(", "click(start_box='(1,2)')\n\n", "click(start_box='", "' ,", "', ", "' ) ", "1", "1 ", "<point>", "a", "')", ", a ="),
    ],
)  # fmt: skip
def test_it_takes_time_in_proportion_to_the_text(piece: str):
    def seconds(length: int) -> float:
        text = ("Action: type(content='" + piece * (length // len(piece)), piece * (length // len(piece)))
        begin = time.perf_counter()
        for one in text:
            read(one)
        return time.perf_counter() - begin

    assert seconds(400_000) < 4  # quadratic work would take minutes


@pytest.mark.skipif(not SHARED.is_file(), reason=f"{SHARED} is not there")
def test_the_recorded_replies_of_ui_tars_are_read():
    turns = json.loads(SHARED.read_text())
    replies = [read(turn["content"]) for turn in turns if turn["role"] == "assistant"]
    assert len(replies) == 8
    assert [reply.error for reply in replies] == [""] * 8
    assert replies[0].actions == (Action("click", point=(495, 30)),)
    assert replies[-1].actions == (Action("click", point=(293, 218)),)
