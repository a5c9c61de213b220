"""AgentNetBench's rule, each clause and edge worked out by hand."""

import math

import pytest

from tracer1.metrics.rules import ActionVerdict, Gold, make_rule
from tracer1.schema import Action

plain, graded = make_rule("agentnetbench"), make_rule("agentnetbench", {"graded": True})
BOX = (400.0, 400.0, 420.0, 410.0)


def at(kind: str, x: float, y: float) -> Action:
    return Action(kind, point=(x, y))


@pytest.mark.parametrize("kind", ["click", "left_double", "right_single", "hover"])
def test_places_by_box_or_distance(kind: str):
    gold = Gold(at(kind, 405, 405), (BOX,))
    assert plain(gold, at(kind, 420, 410)) == ActionVerdict(True, True, True)  # in the box, edges included
    assert plain(gold, at(kind, 405, 419)) == ActionVerdict(True, True, True)  # 14 of 1000 are free
    assert plain(gold, at(kind, 405, 425)) == ActionVerdict(True, False, False)
    # 20 of 1000: exp(-120 * (0.02 - 0.01414...))
    assert graded(gold, at(kind, 405, 425)).score == pytest.approx(math.exp(-120 * (0.02 - 0.01 * math.sqrt(2))))
    assert graded(gold, at(kind, 405, 425)).score == pytest.approx(0.4951, abs=1e-4)
    assert graded(gold, Action(kind)) == ActionVerdict(True, False, False, 0.0)


def test_the_score_is_told_only_when_asked_for():
    assert plain(Gold(at("click", 1, 1)), at("click", 1, 1)).score is None
    assert graded(Gold(at("click", 1, 1)), at("click", 1, 1)).score == 1.0


def test_types_must_agree():
    assert graded(Gold(at("click", 1, 1)), at("left_double", 1, 1)) == ActionVerdict(False, False, False, 0.0)
    assert graded(Gold(at("click", 1, 1)), None) == ActionVerdict(False, False, False, 0.0)


def test_a_drag_is_two_places():
    gold = Action("drag", point=(100, 100), end_point=(500, 500))
    assert plain(Gold(gold), gold).success
    half = graded(Gold(gold), Action("drag", point=(100, 100), end_point=(900, 900)))
    assert half.score == pytest.approx(0.5)
    assert not half.success


@pytest.mark.parametrize(
    ("gold", "predicted", "score"),
    [
        ("Hello", "hello ", 1.0),
        ("hello\n", "hello", 1.0),  # what is stripped is the newline, too
        ("abcde", "abcdx", 1.0),  # 0.8
        ("abcd", "abcx", 0.75 / 0.8),
        ("abcd", "wxyz", 0.0),
        ("", "", 1.0),
        ("x", None, 0.0),
    ],
)
def test_texts(gold: str, predicted: str | None, score: float):
    verdict = graded(Gold(Action("type", content=gold)), Action("type", content=predicted))
    assert verdict.score == pytest.approx(score)
    assert verdict.success is (score == 1.0)


def test_keys_scrolls_and_endings():
    assert plain(Gold(Action("hotkey", key="ctrl c")), Action("hotkey", key="C ctrl")).success
    assert not plain(Gold(Action("hotkey", key="ctrl c")), Action("hotkey", key="ctrl")).success
    assert plain(Gold(Action("scroll", direction="up")), Action("scroll", direction="down")).success  # the type alone
    assert plain(Gold(Action("finished")), Action("finished", content="x")).success
    assert plain(Gold(Action("finished")), Action("call_user")) == ActionVerdict(
        True, None, False
    )  # the status differs
    assert not plain(Gold(Action("wait")), Action("wait")).success  # unknown to the owner's script
