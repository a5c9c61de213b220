"""GUI-Odyssey's rules, each clause and edge worked out by hand."""

import pytest

from tracer1.metrics.rules import ActionVerdict, Gold, make_rule
from tracer1.metrics.rules.gui_odyssey.ams import passes_for_being_empty
from tracer1.schema import Action, Point

ams, os_atlas = make_rule("gui_odyssey.ams"), make_rule("gui_odyssey.os_atlas")
BOX = (100.0, 100.0, 400.0, 120.0)


def click(x: float, y: float, kind: str = "click") -> Action:
    return Action(kind, point=(x, y))


@pytest.mark.parametrize(
    ("point", "hit"),
    [((100, 100), True), ((400, 120), True), ((400.5, 110), False), ((250, 110), True), ((125, 250), True),
     ((125, 251), False)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["click", "long_press"])
def test_ams_takes_the_box_edges_included_or_the_distance(point: Point, hit: bool, kind: str):
    verdict = ams(Gold(click(125, 110, kind), (BOX,)), click(*point, kind))
    assert verdict == ActionVerdict(True, hit, hit)


def test_ams_without_a_box_goes_by_the_distance():
    """The owner's script fails on an empty box and counts even a perfect click as wrong."""
    assert ams(Gold(click(500, 500)), click(500, 500)).success
    assert ams(Gold(click(500, 500)), click(360, 500)).success  # exactly 140
    assert not ams(Gold(click(500, 500)), click(359.9, 500)).success


@pytest.mark.parametrize(
    ("gold", "predicted", "same"),
    [
        ("hello", " hello ", True),
        ("hello world", "world", True),
        ("world", "hello world", True),
        ("abcd", "abxy", True),  # 2 of 4 letters: a similarity of exactly 0.5
        ("abcd", "axyz", False),
        ("abc", "xbz", False),  # 1 - 2/3
        ("ABCD", "abcd", False),  # case counts
        ("x", "", True),  # the empty text is a part of any
        ("x", None, True),
        ("", "anything", True),
        ("12:30", "12:45", True),  # the owner's script cuts both at the colon; here 3 of 5 letters agree
        ("a:bcde", "a:fghi", False),  # cut at the colon they would be equal
        ("kitten", "sitting", True),  # 3 edits of 7
    ],
)
def test_ams_texts(gold: str, predicted: str | None, same: bool):
    assert ams(Gold(Action("type", content=gold)), Action("type", content=predicted)).success is same


def test_how_often_an_empty_text_passes_can_be_counted():
    gold = Action("type", content="x")
    assert passes_for_being_empty(Action("type", content=" "), gold)
    assert passes_for_being_empty(Action("type"), gold)
    assert not passes_for_being_empty(Action("type", content="y"), gold)
    assert not passes_for_being_empty(Action("type"), Action("type", content=""))
    assert not passes_for_being_empty(None, gold)
    assert not passes_for_being_empty(Action("wait"), gold)


@pytest.mark.parametrize("rule", [ams, os_atlas])
def test_types_scrolls_and_the_rest(rule):
    assert rule(Gold(Action("scroll", direction="up")), Action("scroll", direction="up")).success
    assert rule(Gold(Action("scroll", direction="up")), Action("scroll", direction="down")) == ActionVerdict(
        True, None, False
    )
    for kind in ("press_home", "press_back", "press_recent", "finished", "call_user"):
        assert rule(Gold(Action(kind, content="a")), Action(kind, content="b")) == ActionVerdict(True, None, True)
    assert rule(Gold(click(1, 1)), Action("press_home")) == ActionVerdict(False, False, False)
    assert rule(Gold(click(1, 1)), None) == ActionVerdict(False, False, False)
    assert rule(Gold(Action("finished")), None) == ActionVerdict(False, None, False)
    assert rule(Gold(click(5, 5)), Action("click")) == ActionVerdict(True, False, False)  # not taken for (0, 0)


def test_os_atlas_does_not_look_at_the_box():
    assert not os_atlas(Gold(click(125, 110), (BOX,)), click(399, 110)).success
    assert os_atlas(Gold(click(125, 110), (BOX,)), click(265, 110)).success  # exactly 140


@pytest.mark.parametrize(
    ("gold", "predicted", "text", "written"),
    [
        ("hello world", "hello there", False, True),  # 0.5; {type, [hello, world]} and {type, [hello, there]}: 2/3
        ("cat", "dog", False, False),  # written: 1 of 2 words, 0.5
        ("new york", "new", True, False),  # 2/3; written only TYPE is common: 0.4
        ("York", "york", True, True),
        ("x", None, False, False),
    ],
)
def test_os_atlas_texts(gold: str, predicted: str | None, text: bool, written: bool):
    pair = Gold(Action("type", content=gold)), Action("type", content=predicted)
    assert os_atlas(*pair).success is text
    assert make_rule("gui_odyssey.os_atlas", {"compat": True})(*pair).success is written
