"""BrowserGym's calls (GUI data, section A.5), row by row."""

import pytest
from raw_agenttrek import TREE

from tracer1.actions import missing_arguments
from tracer1.data.converters._browsergym import read_operations, target_text
from tracer1.data.drafts import Unusable
from tracer1.schema import Action


def actions(code: str) -> list[Action]:
    return [operation.action for operation in read_operations(code)]


@pytest.mark.parametrize(
    ("code", "expected", "meta"),
    [
        ("click('a46')", Action("click"), {"bid": "a46"}),
        ("click(bid='a46')", Action("click"), {"bid": "a46"}),
        ("click(46)", Action("click"), {"bid": "46"}),
        ("click('a46', button='right')", Action("right_single"), {"bid": "a46"}),
        ("click('a46', 'left', ['Shift'])", Action("click"), {"bid": "a46", "modifiers": "shift"}),
        ("dblclick('a46')", Action("left_double"), {"bid": "a46"}),
        ("fill('a46', 'text')", Action("type", content="text"), {"bid": "a46"}),
        ("fill('a46', '')", Action("type", content=""), {"bid": "a46"}),
        ("select_option('a46', 'blue')", Action("select", content="blue"), {"bid": "a46"}),
        ("select_option('a46', ['red', 'blue'])", Action("select", content="red, blue"), {"bid": "a46"}),
        ("hover('a46')", Action("hover"), {"bid": "a46"}),
        ("focus('a46')", Action("hover"), {"bid": "a46"}),
        ("check('a46')", Action("click"), {"bid": "a46"}),
        ("uncheck('a46')", Action("click"), {"bid": "a46"}),
        ("press('a46', 'Enter')", Action("hotkey", key="enter"), {"bid": "a46"}),
        ("keyboard_press('Control+c')", Action("hotkey", key="ctrl c"), {}),
        ("keyboard_press('ControlOrMeta+Shift+ArrowDown')", Action("hotkey", key="ctrl shift down"), {}),
        ("keyboard_press('Control++')", Action("hotkey", key="ctrl plus"), {}),
        ("keyboard_press('Escape')", Action("hotkey", key="esc"), {}),
        ("keyboard_type('text')", Action("type", content="text"), {}),
        ("keyboard_insert_text('text')", Action("type", content="text"), {}),
        ("scroll(0, 200)", Action("scroll", direction="down"), {}),
        ("scroll(0, -200.5)", Action("scroll", direction="up"), {}),
        ("scroll(300, 0)", Action("scroll", direction="right"), {}),
        ("scroll(-300, 200)", Action("scroll", direction="left"), {}),
        ("scroll(delta_x=200, delta_y=200)", Action("scroll", direction="down"), {}),
        ("drag_and_drop('a46', '47')", Action("drag"), {"from_bid": "a46", "to_bid": "47"}),
        ("mouse_click(12, 30.5)", Action("click"), {"pixels": [12.0, 30.5]}),
        ("mouse_click(12, 30, 'right')", Action("right_single"), {"pixels": [12.0, 30.0]}),
        ("mouse_dblclick(12, 30)", Action("left_double"), {"pixels": [12.0, 30.0]}),
        ("mouse_move(12, 30)", Action("hover"), {"pixels": [12.0, 30.0]}),
        ("mouse_drag_and_drop(1, 2, 3, 4)", Action("drag"), {"pixels": [1.0, 2.0, 3.0, 4.0]}),
        ("goto('http://a.b/?q=1')", Action("goto", content="http://a.b/?q=1"), {}),
        ("go_back()", Action("hotkey", key="alt left"), {}),
        ("go_forward()", Action("hotkey", key="alt right"), {}),
        ("new_tab()", Action("hotkey", key="ctrl t"), {}),
        ("tab_close()", Action("hotkey", key="ctrl w"), {}),
        ("tab_focus(2)", Action("hotkey", key="ctrl 3"), {}),
        ("noop()", Action("wait"), {}),
        ("noop(500)", Action("wait"), {}),
        ("send_msg_to_user('42')", Action("finished", content="42"), {}),
        ("report_infeasible('no field')", Action("call_user", content="no field"), {"outcome": "failed"}),
    ],
)
def test_every_row_of_the_table(code: str, expected: Action, meta: dict):
    [operation] = read_operations(code)
    assert (operation.action, dict(operation.meta)) == (expected, meta)
    assert not [name for name in missing_arguments(expected) if name not in ("point", "end_point")]


def test_clearing_is_two_keys():
    assert actions("clear('a46')") == [Action("hotkey", key="ctrl a"), Action("hotkey", key="delete")]


def test_several_calls_fold_where_enter_goes_to_the_same_field():
    assert actions("fill('a46', 'x')\npress('a46', 'Enter')") == [Action("type", content="x\n")]
    assert actions("fill('a46', 'x'); keyboard_press('Enter')") == [Action("type", content="x\n")]
    assert len(actions("fill('a46', 'x')\npress('47', 'Enter')")) == 2
    assert [a.action_type for a in actions("click('a46')\nfill('a46', 'x')\nclick('47')")] == ["click", "type", "click"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("fill('a', '''two\nlines''')", "two\nlines"),
        ('fill("a", """say "hi"\nthere""")', 'say "hi"\nthere'),
        ("fill('a', 'it\\'s')", "it's"),
        ("fill('a', 'back\\\\slash')", "back\\slash"),
        ("fill('a', '日本語 😀 שלום')", "日本語 😀 שלום"),
        ("fill('a', 'a ' 'b')", "a b"),
        ("# a comment\nfill('a', 'x')  # another", "x"),
        ("fill(\n  'a',\n  'x',\n)", "x"),
    ],
)
def test_strings_of_any_spelling(code: str, text: str):
    assert actions(code) == [Action("type", content=text)]


@pytest.mark.parametrize(
    ("code", "reason", "whole"),
    [
        ("click('a46'", "code does not parse", False),
        ("I would click", "code does not parse", False),
        ("", "code missing", False),
        ("click(a46)", "code has an argument that is no plain value", False),
        ("click()", "argument missing", False),
        ("fill('a46')", "argument missing", False),
        ("select_option('a46', [])", "argument missing", False),
        ("mouse_click(1)", "argument missing", False),
        ("go_back(1)", "code has unknown arguments", False),
        ("scroll(0, 0)", "scroll of zero length", False),
        ("upload_file('a46', 'x.pdf')", "code not in the vocabulary", False),
        ("keyboard_down('Shift')", "code not in the vocabulary", False),
        ("tab_focus(8)", "code not in the vocabulary", False),
        ("dblclick('a46', button='right')", "code not in the vocabulary", False),
        ("click('a46', button='middle')", "middle click", True),
    ],
)
def test_what_cannot_be_used_says_why(code: str, reason: str, whole: bool):
    with pytest.raises(Unusable) as problem:
        read_operations(code)
    assert (problem.value.reason, problem.value.whole) == (reason, whole)


@pytest.mark.parametrize(
    ("bid", "text"),
    [
        ("a46", "button 'Search'"),
        ("47", 'textbox "It\'s a box"'),
        ("b9", "link 'Top tracks [a46]'"),
        ("c1", "image"),
        ("4", ""),
        ("a4.", ""),
    ],
)
def test_the_target_is_looked_up_in_the_page(bid: str, text: str):
    assert target_text(TREE, bid) == text
