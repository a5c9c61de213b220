"""Our reader of UI-TARS's replies against `ui_tars.action_parser` 0.1.4, in both coordinate spaces; where they differ is listed.

The oracle answers with strings: boxes from 0 to 1 of the screenshot, `[x1, y1, x2, y2]`.
"""

import json
import random

import pytest

from tracer1.actions import RELATIVE_1000, CoordinateSpace, canonical_type, smart_resized
from tracer1.executors._ui_tars_reply import parse
from tracer1.schema import Action

oracle = pytest.importorskip("ui_tars.action_parser", reason="ui-tars==0.1.4 is in tracer1[dev]")

SIZES = [(1920, 1080), (1080, 2400), (1280, 720), (2560, 1440), (1212, 758), (160, 210), (5000, 4000)]
NAMES = {
    "start_box": "point",
    "end_box": "end_point",
    "content": "content",
    "key": "key",
    "direction": "direction",
    "app_name": "app_name",
}


def theirs(text: str, size: tuple[int, int] | None) -> tuple[str, list[Action]]:
    """What the oracle reads, as our actions: of a relative model, or of one that sees pixels of a resized screen of that size."""
    width, height = size or (1000, 1000)
    model = "qwen2vl" if size is None else "qwen25vl"
    parsed = oracle.parse_action_to_structure_output(text, 1000, height, width, model_type=model)
    actions = []
    for one in parsed:
        fields = {}
        for name, value in one["action_inputs"].items():
            if name in ("start_box", "end_box"):
                x1, y1, x2, y2 = json.loads(value)
                fields[NAMES[name]] = (500 * (x1 + x2), 500 * (y1 + y2))
            elif name in NAMES:
                fields[NAMES[name]] = value
        actions.append(Action(canonical_type(one["action_type"]), **fields))
    return parsed[0]["thought"] or "", actions


def ours(text: str, size: tuple[int, int] | None) -> tuple[str, list[Action]]:
    space: CoordinateSpace = (
        RELATIVE_1000 if size is None else smart_resized(*size, 28, oracle.MIN_PIXELS, oracle.MAX_PIXELS)
    )
    reply = parse(text, space)
    assert not reply.error, (text, reply.error)
    return reply.thought, list(reply.actions)


def check_same(text: str, size: tuple[int, int] | None) -> None:
    (their_thought, their_actions), (our_thought, our_actions) = theirs(text, size), ours(text, size)
    assert our_thought == their_thought
    assert len(our_actions) == len(their_actions)
    for mine, other in zip(our_actions, their_actions, strict=True):
        for place in ("point", "end_point"):
            if getattr(mine, place) is not None or getattr(other, place) is not None:
                assert getattr(mine, place) == pytest.approx(getattr(other, place), abs=1e-6), text
        for name in ("action_type", "content", "key", "direction", "app_name"):
            assert (getattr(mine, name) or None) == (getattr(other, name) or None), (name, text)


HAND_WRITTEN = [
    "Thought: The menu is at the top.\nAction: click(start_box='(197,525)')",
    "Action: click(start_box='(197,525)')",
    "Thought: Two lines\nof thought.\nAction: left_double(start_box='(1,2)')",
    "Reflection: that missed. Action_Summary: try the icon\nAction: right_single(start_box='(11,22)')",
    "Action_Summary: try the icon\nAction: click(start_box='(11,22)')",
    "Thought: x\nAction: click(point='<point>300 400</point>')",
    "Thought: x\nAction: drag(start_point='<point>300 400</point>', end_point='<point>30 40</point>')",
    "Thought: x\nAction: drag(start_box='(300,400)', end_box='(30,40)')",
    "Thought: x\nAction: click(start_box='(100,200,300,400)')",
    "Thought: x\nAction: scroll(start_box='(10,20)', direction='down')",
    "Thought: x\nAction: scroll(point='<point>10 20</point>', direction='right')",
    "Thought: x\nAction: scroll(direction='up')",
    "Thought: x\nAction: hotkey(key='ctrl c')",
    "Thought: x\nAction: type(content='hello world')",
    "Thought: x\nAction: type(content='send it\\n')",
    "Thought: x\nAction: type(content='it's fine')",
    "Thought: x\nAction: type(content='say \\\"hi\\\"')",
    "Thought: x\nAction: type(content='f('x')')",
    "Thought: x\nAction: wait(time='5')",
    "Thought: x\nAction: wait()",
    "Thought: x\nAction: finished()",
    "Thought: x\nAction: finished(content='all done')",
    "Thought: x\nAction: call_user()",
    "Thought: x\nAction: open_app(app_name='Clock')",
    "Thought: x\nAction: press_home()",
    "Thought: x\nAction: press_back()",
    "Thought: x\nAction: long_press(start_box='(5,6)', time='')",
    "Thought: x\nAction: select(start_box='(5,6)')",
    "Thought: x\nAction: hover(start_box='(5,6)')",
    "Thought: x\nAction: left_single(start_box='(5,6)')",
    "Thought: x\nAction: press(key='enter')",
    "Thought: x\nAction: click(start_box='(5,6)')\n\ntype(content='a')\n\nhotkey(key='enter')",
    "Thought: first\nAction: wait()\nThought: second\nAction: press_home()",  # the last block counts
    "Thought: on one line. Action: click(start_box='(5,6)')",
    "Thought: x\nAction: click(start_box='(5,6)'",  # the last bracket is missing
    "  \n Thought: x\nAction: click(start_box='(5, 6)')  \n",
]


@pytest.mark.parametrize("text", HAND_WRITTEN)
def test_hand_written_replies_read_alike(text: str):
    for size in (None, *SIZES[:3]):
        check_same(text, size)


WORDS = (
    "open",
    "the",
    "Settings",
    "page,",
    "50%",
    "a/b",
    "e-mail@x.org",
    "naïve",
    "数字",
    "x=1;",
    "#2",
    "it's",
    "-",
    "Action",
    "(see",
    "1)",
)


def made_reply(chance: random.Random, limit: tuple[int, int]) -> str:
    """A reply in one of the two syntaxes, of one to three actions."""
    point_syntax = chance.random() < 0.5

    def words(most: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, most)))

    def place(first: bool = True, two: bool = False) -> str:
        x, y = chance.randint(0, limit[0]), chance.randint(0, limit[1])
        if point_syntax:
            return f"{('start_point' if two else 'point') if first else 'end_point'}='<point>{x} {y}</point>'"
        gap = chance.choice(("", " "))
        return f"{'start_box' if first else 'end_box'}='({x},{gap}{y})'"

    def call() -> str:
        return chance.choice(
            (
                lambda: f"{chance.choice(('click', 'left_double', 'right_single', 'long_press', 'hover'))}({place()})",
                lambda: f"drag({place(two=True)}, {place(first=False)})",
                lambda: f"scroll({place()}, direction='{chance.choice(('up', 'down', 'left', 'right'))}')",
                lambda: f"hotkey(key='{chance.choice(('ctrl c', 'enter', 'alt f4', 'ctrl shift esc'))}')",
                lambda: f"type(content='{words(6)}{chance.choice(('', chr(92) + 'n'))}')",
                lambda: f"open_app(app_name='{chance.choice(('Clock', 'Google Maps', '数字'))}')",
                lambda: f"{chance.choice(('wait', 'press_home', 'press_back', 'finished', 'call_user'))}()",
            )
        )()

    calls = "\n\n".join(call() for _ in range(chance.randint(1, 3)))
    return f"{chance.choice(('', f'Thought: {words(12)}{chr(10)}'))}Action: {calls}"


def test_made_replies_read_alike_in_both_spaces():
    chance = random.Random(5)
    for _ in range(3000):
        size = chance.choice((None, *SIZES))
        space = RELATIVE_1000 if size is None else smart_resized(*size, 28, oracle.MIN_PIXELS, oracle.MAX_PIXELS)
        check_same(made_reply(chance, (int(space.width), int(space.height))), size)


def test_the_same_picture_is_resized_to_the_same_size():
    chance = random.Random(6)
    for _ in range(2000):
        width, height = chance.randint(30, 6000), chance.randint(30, 6000)
        space = smart_resized(width, height, 28, oracle.MIN_PIXELS, oracle.MAX_PIXELS)
        assert (space.height, space.width) == oracle.smart_resize(height, width)


# --- where we differ ---------------------------------------------------------------------------------------------------

STRICTER = {  # what the oracle lets through, and what it makes of it
    "Action: click()": "a click nowhere",
    "Action: fly(start_box='(5,6)')": "an action that nobody knows",
    "Action: click(start_box='(1500,6)')": "a place outside of the screenshot",
    "Action: scroll(direction='down or up')": "a direction that is none",
    "Action: hotkey(key='')": "no key",
    "Action: click(": "a call that breaks off",
}
MORE_LENIENT = {  # what it refuses, and we read
    "click(start_box='(5,6)')": "no `Action:`: it asserts",
    "Action:click(start_box='(5,6)')": "no space after `Action:`",
    "Action:\nclick(start_box='(5,6)')": "a new line after `Action:`",
    "Action: click(start_box='<|box_start|>(5,6)<|box_end|>')": "the tokens of places",
    "Action: click(start_box='(5,6)')<|im_end|>": "the token of the end",
    "Action: click(start_box='[5,6]')": "square brackets",
    "Action: click(start_box=(5,6))": "no quotes",
    "Action: click(start_box='(5,6)') I hope so.": "words after the action",
    "```\nThought: x\nAction: click(start_box='(5,6)')\n```": "a fence",
    "(5,6)": "a bare place",
}
OTHERWISE = {  # what both read, each its own way: (text, what we make of it)
    "Action: type(content='Action: click(start_box=1)')": Action(
        "type", content="Action: click(start_box=1)"
    ),  # a command
    "Action: type(content='a', start_box='(5,6)')": Action("type", content="a", point=(5, 6)),  # Mind2Web's typing
    'Action: type(content="it\'s")': Action("type", content="it's"),
    "Action: type(content='  a')": Action("type", content="  a"),  # leading spaces are typed
    "Action: type(content='a\nb')": Action("type", content="a\nb"),  # a line break in the text itself
    "Action: type(content='point=3')": Action("type", content="point=3"),  # it renames arguments in texts, too
    "Action: type(content='a)\n\nb')": Action("type", content="a)\n\nb"),  # it divides actions there
    "Action: scroll(start_box='(500,800)', end_box='(500,200)')": Action("scroll", point=(500, 800), direction="down"),
    "Action: hotkey(key='Ctrl+C')": Action("hotkey", key="ctrl c"),
    "Action: keydown(key='a')": Action("hotkey", key="a"),
}


@pytest.mark.parametrize("text", STRICTER)
def test_we_are_stricter(text: str):
    assert theirs(text, None)[1]
    assert parse(text, RELATIVE_1000).error


@pytest.mark.parametrize("text", MORE_LENIENT)
def test_we_are_more_lenient(text: str):
    with pytest.raises((AssertionError, ValueError, AttributeError)):
        theirs(text, None)
    assert ours(text, None)[1][0] == Action("click", point=(5, 6))


@pytest.mark.parametrize("text", OTHERWISE)
def test_we_read_it_otherwise(text: str):
    try:
        their = theirs(text, None)[1]
    except (AssertionError, ValueError, AttributeError):
        their = None  # it refuses
    assert ours(text, None)[1] == [OTHERWISE[text]]
    assert their != [OTHERWISE[text]]


def test_one_line_break_between_actions_is_enough_for_us():
    text = "Action: click(start_box='(5,6)')\ntype(content='a')"
    assert ours(text, None)[1] == [Action("click", point=(5, 6)), Action("type", content="a")]
    assert [action.content for action in theirs(text, None)[1]] == ["click(start_box='(5,6)')\na"]
