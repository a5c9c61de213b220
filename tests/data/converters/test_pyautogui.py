"""AgentNet's code vocabulary (GUI data, section A.1), row by row."""

import pytest

from tracer1.actions import missing_arguments
from tracer1.data.converters._pyautogui import read_operations
from tracer1.data.drafts import Unusable
from tracer1.schema import Action

A = "x=0.25, y=0.5"
PLACE = (250.0, 500.0)


def actions(code: str) -> list[Action]:
    return [operation.action for operation in read_operations(code)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f"pyautogui.click({A})", Action("click", point=PLACE)),
        ("pyautogui.click(0.25, 0.5)", Action("click", point=PLACE)),
        (f"pyautogui.click({A}, button='left')", Action("click", point=PLACE)),
        (f"pyautogui.click({A}, button='right')", Action("right_single", point=PLACE)),
        (f"pyautogui.click({A}, clicks=2)", Action("left_double", point=PLACE)),
        (f"pyautogui.doubleClick({A})", Action("left_double", point=PLACE)),
        (f"pyautogui.rightClick({A})", Action("right_single", point=PLACE)),
        (f"pyautogui.tripleClick({A})", Action("left_double", point=PLACE)),
        (f"computer.tripleClick({A})", Action("left_double", point=PLACE)),
        (f"computer.triple_click({A})", Action("left_double", point=PLACE)),
        (f"pyautogui.moveTo({A})", Action("hover", point=PLACE)),
        (f"pyautogui.moveTo({A})\npyautogui.click()", Action("click", point=PLACE)),
        (
            f"pyautogui.moveTo({A})\npyautogui.dragTo(x=0.75, y=0.1, button='left')",
            Action("drag", point=PLACE, end_point=(750.0, 100.0)),
        ),
        (f"pyautogui.moveTo({A})\npyautogui.scroll(3)", Action("scroll", point=PLACE, direction="up")),
        (f"pyautogui.moveTo({A})\npyautogui.scroll(-3)", Action("scroll", point=PLACE, direction="down")),
        (f"pyautogui.moveTo({A})\npyautogui.hscroll(2)", Action("scroll", point=PLACE, direction="right")),
        (f"pyautogui.scroll(-1, {A})", Action("scroll", point=PLACE, direction="down")),
        ("pyautogui.scroll(-5)", Action("scroll", point=(500.0, 500.0), direction="down")),
        ("pyautogui.hscroll(-5)", Action("scroll", point=(500.0, 500.0), direction="left")),
        ("pyautogui.write(message='abc')", Action("type", content="abc")),
        ("pyautogui.write('')", Action("type", content="")),
        ("pyautogui.typewrite('abc')", Action("type", content="abc")),
        ("pyautogui.press('esc')", Action("hotkey", key="esc")),
        ("pyautogui.press(keys=['Enter'])", Action("hotkey", key="enter")),
        ("pyautogui.press(' ')", Action("hotkey", key="space")),
        ("pyautogui.press('\\n')", Action("hotkey", key="enter")),
        ("pyautogui.hotkey(keys=['ctrl','c'])", Action("hotkey", key="ctrl c")),
        ("pyautogui.hotkey(['ctrl','c'])", Action("hotkey", key="ctrl c")),
        ("pyautogui.hotkey('Ctrl', 'C')", Action("hotkey", key="ctrl c")),
        ("pyautogui.hotkey('ctrl+shift+t')", Action("hotkey", key="ctrl shift t")),
        ("pyautogui.hotkey('ctrl', '+')", Action("hotkey", key="ctrl plus")),
        ("pyautogui.hotkey('command', 'space')", Action("hotkey", key="command space")),
        ("pyautogui.hotkey(keys=['win'])", Action("hotkey", key="win")),
        ("computer.wait(2)", Action("wait")),
        ("computer.wait()", Action("wait")),
        ("import time\ntime.sleep(3)", Action("wait")),
        ("computer.terminate(status='success')", Action("finished")),
        ("computer.terminate('failure')", Action("call_user")),
    ],
)
def test_every_row_of_the_vocabulary(code: str, expected: Action):
    assert actions(code) == [expected]
    assert not missing_arguments(expected)


def test_a_failure_says_so_in_the_meta():
    [operation] = read_operations("computer.terminate(status='failure')")
    assert operation.meta == {"outcome": "failed"}


def test_a_triple_click_is_repaired_and_a_double_click_is_not():
    assert read_operations(f"pyautogui.tripleClick({A})")[0].repair == "three or more clicks read as a double click"
    assert read_operations(f"pyautogui.doubleClick({A})")[0].repair == ""


def test_typing_and_the_enter_key_are_one_action():
    code = "pyautogui.write(message='abc')\npyautogui.press('enter')"
    [operation] = read_operations(code)
    assert operation.action == Action("type", content="abc\n")
    assert operation.code == code
    assert actions("pyautogui.press('enter')\npyautogui.write('abc')") == [
        Action("hotkey", key="enter"),
        Action("type", content="abc"),
    ]
    twice = "pyautogui.write('abc')\npyautogui.press('enter', presses=2)"
    assert actions(twice) == [Action("type", content="abc\n"), Action("hotkey", key="enter")]
    assert len(actions("pyautogui.write('abc')\npyautogui.hotkey('ctrl', 'enter')")) == 2


def test_what_does_not_fold_becomes_several_actions():
    code = f"pyautogui.click({A})\npyautogui.hotkey('ctrl', 'a')\npyautogui.write('x')\npyautogui.scroll(1)"
    assert actions(code) == [
        Action("click", point=PLACE),
        Action("hotkey", key="ctrl a"),
        Action("type", content="x"),
        Action("scroll", point=PLACE, direction="up"),  # the pointer stayed where it clicked
    ]
    assert [a.action_type for a in actions(f"pyautogui.moveTo({A})\npyautogui.write('x')")] == ["hover", "type"]


def test_a_drag_of_unknown_start_has_no_point():
    assert actions(f"pyautogui.dragTo({A})") == [Action("drag", end_point=PLACE)]


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("pyautogui.press('backspace', presses=5)", 5),
        ("pyautogui.press(keys=['backspace'], presses=40)", 5),
        ("pyautogui.press(keys=['a', 'b'], presses=40)", 10),
        ("pyautogui.press('backspace')\n" * 40, 5),
    ],
)
def test_repeats_are_capped_and_that_is_said(code: str, count: int):
    operations = read_operations(code)
    assert len(operations) == count
    capped = [operation.repair for operation in operations if operation.repair]
    assert bool(capped) == ("40" in code or "\n" in code)
    assert set(capped) <= {"repeats capped at 5"}


@pytest.mark.parametrize(
    "text", ["it's", 'say "hi"', "back\\slash", "two\nlines", "é", "e\u0301", "😀", "שלום عالم", "日本語", "", " lead"]
)
def test_any_text_comes_through(text: str):
    assert actions(f"pyautogui.write(message={text!r})") == [Action("type", content=text)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("pyautogui.click(x=0.1", "code does not parse"),
        ("click the button", "code does not parse"),
        ("pyautogui.write('\0')", "code does not parse"),
        ("", "code missing"),
        ("import pyautogui", "code missing"),
        ("x = 3", "code is no call"),
        ("for i in range(3): pyautogui.press('a')", "code is no call"),
        ("pyautogui.click(x=a, y=0.1)", "code has an argument that is no plain value"),
        ("pyautogui.write(open('/etc/passwd').read())", "code has an argument that is no plain value"),
        ("pyautogui.click(0.1, 0.2, colour='red')", "code has unknown arguments"),
        ("pyautogui.click(0.1, x=0.2, y=0.3)", "code has unknown arguments"),
        ("computer.wait(1)\nos.system('ls')", "code not in the vocabulary"),
        ("pyautogui.keyDown('a')", "code not in the vocabulary"),
        ("pyautogui.click(0.1, 0.2, button='fourth')", "code not in the vocabulary"),
        ("pyautogui.moveTo(0, 0)\npyautogui.dragTo(1, 1, button='right')", "code not in the vocabulary"),
        ("computer.terminate(status='maybe')", "code not in the vocabulary"),
        ("pyautogui.click(x=0.1)", "argument missing"),
        ("pyautogui.click(x='a', y=0.1)", "argument missing"),
        ("pyautogui.press('')", "argument missing"),
        ("pyautogui.press(keys=[])", "argument missing"),
        ("pyautogui.hotkey()", "argument missing"),
        ("pyautogui.write(3)", "argument missing"),
        ("pyautogui.scroll()", "argument missing"),
        ("pyautogui.scroll(0)", "scroll of zero length"),
    ],
)
def test_what_cannot_be_used_says_why(code: str, reason: str):
    with pytest.raises(Unusable) as problem:
        read_operations(code)
    assert (problem.value.reason, problem.value.whole) == (reason, False)


@pytest.mark.parametrize("code", [f"pyautogui.middleClick({A})", f"pyautogui.click({A}, button='middle')"])
def test_a_middle_click_drops_the_trajectory(code: str):
    with pytest.raises(Unusable) as problem:
        read_operations(code)
    assert (problem.value.reason, problem.value.whole) == ("middle click", True)


def test_code_is_never_run(tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(Unusable):
        read_operations(f"pyautogui.write(open({str(mark)!r}, 'w').write('x'))")
    assert not mark.exists()
