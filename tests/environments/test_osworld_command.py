"""Our actions as PyAutoGUI commands: executed behind DesktopEnv's own rewriting, they give the pixels and keys that were meant."""

import pytest
from fakes_osworld import rewritten
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_keys import KEYS, run

from tracer1.actions import ACTION_TYPES
from tracer1.environments._foreign import ImpossibleAction
from tracer1.environments._osworld import command
from tracer1.environments._osworld.command import LONGEST, LONGEST_FOREIGN, to_command
from tracer1.schema import Action

SIZE = (1920, 1080)


def done(action: Action, monkeypatch):
    return run(rewritten(to_command(action, SIZE)), monkeypatch)


@pytest.mark.parametrize(
    ("action", "events"),
    [
        (Action("click", point=(500.0, 500.0)), [("click", 960, 540)]),
        (Action("left_double", point=(0.0, 0.0)), [("doubleClick", 0, 0)]),
        (Action("right_single", point=(1000.0, 1000.0)), [("rightClick", 1919, 1079)]),
        (Action("click", point=(-20.0, 1400.0)), [("click", 0, 1079)]),
        (Action("hover", point=(100.0, 200.0)), [("moveTo", 192, 216)]),
        (Action("drag", point=(100.0, 100.0), end_point=(200.0, 300.0)), [("moveTo", 192, 108), ("dragTo", 384, 324)]),
        # the wheel turned towards the user is negative and shows what is below
        (Action("scroll", direction="down", point=(250.0, 250.0)), [("moveTo", 480, 270), ("scroll", -5)]),
        (Action("scroll", direction="up"), [("moveTo", 960, 540), ("scroll", 5)]),
        (Action("scroll", direction="right"), [("moveTo", 960, 540), ("hscroll", 5)]),
        (Action("scroll", direction="left"), [("moveTo", 960, 540), ("hscroll", -5)]),
        (Action("hotkey", key="ctrl shift t"), ["ctrl+shift+t"]),
        (Action("hotkey", key="return"), ["enter"]),
        (Action("hotkey", key="super"), ["win"]),
        (Action("hotkey", key="control page_down"), ["ctrl+pagedown"]),
        (Action("hotkey", key="ctrl plus"), ["ctrl++"]),
        (Action("hotkey", key="<"), ["shift+,"]),
        (Action("hotkey", key="ctrl <"), ["ctrl+shift+,"]),
        (Action("hotkey", key="'"), ["'"]),
        (Action("hotkey", key="\\"), ["\\"]),
    ],
)
def test_pointer_and_keys(action, events, monkeypatch):
    assert done(action, monkeypatch).events == events


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "a\nb\n",
        """both 'quotes' and "quotes" \\ and \\n that is no newline""",
        "a < b << c <",
        "<",
        'pyautogui.press("<")',
        "pyautogui.typewrite('x<y'); pyautogui.typewrite(\"\\u003c\")",
        "{curly} {command} %s",
        "\ttab",
        "café, 你好, €, Жизнь: < and 🙂\n",
        "αβγδεζηθικλμνξοπρστυφχψω, and α again",
        "# no comment; import os",
    ],
)
def test_typed_text_comes_out_as_it_was_meant(text, monkeypatch):
    assert done(Action("type", content=text), monkeypatch).text == text


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60))
def test_any_text_comes_out_as_it_was_meant(text):
    with pytest.MonkeyPatch.context() as patch:
        assert done(Action("type", content=text), patch).text == text


def test_typing_at_a_place_clicks_there_first(monkeypatch):
    desk = done(Action("type", content="né", point=(500.0, 500.0)), monkeypatch)
    assert (desk.events, desk.text) == ([("click", 960, 540)], "né")


def test_line_ends_of_windows_are_one_enter_and_other_control_characters_have_no_key(monkeypatch):
    assert done(Action("type", content="a\r\nb\rc\x00\x1bd"), monkeypatch).text == "a\nb\ncd"


def test_longest_texts_fit_into_one_command(monkeypatch):
    for text in (
        "(a" * (LONGEST // 2),
        "\U0001f642\u4f60" * (LONGEST_FOREIGN // 2),
        "for (i = 0; i < 9; i++) {}\n" * 700,
    ):
        assert done(Action("type", content=text), monkeypatch).text == text
    for text in ("a" * (LONGEST + 1), "é" * (LONGEST_FOREIGN + 1), "<a" * (LONGEST // 2)):
        with pytest.raises(ImpossibleAction, match="too many"):
            to_command(Action("type", content=text), SIZE)


def test_endings_and_waiting_are_words():
    words = {kind: to_command(Action(kind), SIZE) for kind in ("wait", "finished", "call_user")}
    assert words == {"wait": "WAIT", "finished": "DONE", "call_user": "FAIL"}


@pytest.mark.parametrize(
    "action",
    [
        Action("press_home"),
        Action("python_interpreter"),
        Action("click"),
        Action("drag", point=(1.0, 1.0)),
        Action("scroll", direction="sideways"),
        Action("scroll"),
        Action("type"),
        Action("type", content=""),
        Action("type", content="\x00"),
        Action("hotkey", key="ctrl bogus"),
        Action("hotkey", key=""),
        Action("hotkey", key="é"),
    ],
)
def test_what_a_desktop_cannot_do_is_said(action):
    with pytest.raises(ImpossibleAction):
        to_command(action, SIZE)


def test_every_action_of_a_desktop_can_be_done():
    desktop = {name for name, row in ACTION_TYPES.items() if "desktop" in row.platforms}
    assert desktop == set(command._WRITERS)


def test_every_named_key_is_one_that_pyautogui_knows():
    assert {key for key in command.KEYS.values() if len(key) > 1} <= KEYS
