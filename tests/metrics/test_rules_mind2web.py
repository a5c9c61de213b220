"""Mind2Web's rules, each clause and edge worked out by hand."""

import pytest

from tracer1.metrics.rules import SKIPPED, Element, ElementVerdict, Gold, make_rule
from tracer1.schema import Action, Point

seeclick, uground, original = (make_rule(f"mind2web.{name}") for name in ("seeclick", "uground", "original"))
BOX = (100.0, 200.0, 300.0, 250.0)
ON = (150.0, 225.0)
WRONG = ElementVerdict(False, 0.0, False)


def act(kind: str, content: str | None = None, point: Point | None = ON, **fields) -> Action:
    return Action(kind, point=point, content=content, **fields)


@pytest.mark.parametrize("rule", [seeclick, uground])
def test_a_click_is_its_place(rule):
    assert rule(Gold(act("click"), (BOX,)), act("click")) == ElementVerdict(True, 1.0, True)
    assert rule(Gold(act("click"), (BOX,)), act("click", point=(99, 225))) == ElementVerdict(False, 1.0, False)
    assert rule(Gold(act("click"), (BOX,)), act("click", point=(300, 250))).success  # edges are included
    assert rule(Gold(act("click"), (BOX,)), None) == WRONG


@pytest.mark.parametrize("rule", [seeclick, uground])
def test_hovering_and_enter_are_clicks(rule):
    for gold, predicted in (("click", "hover"), ("hover", "click")):
        assert rule(Gold(act(gold), (BOX,)), act(predicted)).success
    assert rule(Gold(act("click"), (BOX,)), act("hotkey", key="enter")).success
    assert rule(Gold(act("click"), (BOX,)), act("hotkey", key="esc")) == ElementVerdict(True, 0.0, False)
    assert rule(Gold(act("click"), (BOX,)), act("scroll", direction="up")) == ElementVerdict(True, 0.0, False)


@pytest.mark.parametrize("rule", [seeclick, uground])
@pytest.mark.parametrize(
    ("gold", "predicted", "f1"),
    [
        (act("type", "New York"), act("type", "new york"), 1.0),
        (act("type", "new york"), act("type", "york"), 0.8),  # 2 of 2 and 2 of 3
        (act("type", "x"), act("type", "y"), 0.5),
        (act("type", "x"), act("select", "x"), 0.5),  # the value alone
        (act("type", "x"), act("click"), 0.0),
        (act("click"), act("type", "x"), 0.0),
        (act("select", "a b"), act("select", "b a a"), 1.0),  # sets
        (act("type", ""), act("type", ""), 1.0),
    ],
)
def test_f1_of_operation_and_value(rule, gold: Action, predicted: Action, f1: float):
    verdict = rule(Gold(gold, (BOX,)), predicted)
    assert verdict.operation_f1 == pytest.approx(f1)
    assert verdict.element_accuracy is True
    assert verdict.success is (f1 == 1.0)


# --- SeeClick ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edge", "x", "hit"),
    [
        (400.4, 400, True),  # 0.4004 is rounded to 0.400: what lies outside of the box is hit
        (400.6, 400.7, False),  # 0.4006 to 0.401: what lies inside is missed
        (400.6, 401, True),
    ],
)
def test_seeclick_rounds_the_box_and_not_the_point(edge: float, x: float, hit: bool):
    box = (edge, 200.0, 500.0, 250.0)
    assert seeclick(Gold(act("click"), (box,)), act("click", point=(x, 225))).element_accuracy is hit


def test_seeclick_leaves_out_steps_without_a_box_and_knows_one_box():
    assert seeclick(Gold(act("click")), act("click")) == SKIPPED
    assert seeclick(Gold(act("click")), None) == SKIPPED
    assert seeclick(Gold(act("click"), ((0, 0, 1, 1), BOX)), act("click")).element_accuracy is False


def test_seeclick_takes_an_answer_without_place_or_value_for_unreadable():
    assert seeclick(Gold(act("type", "x"), (BOX,)), act("type", "x", None)) == WRONG
    assert seeclick(Gold(act("type", "x"), (BOX,)), act("type")) == ElementVerdict(True, 0.0, False)


# --- UGround -----------------------------------------------------------------------------------------------------------


def test_uground_takes_any_box_as_it_is():
    assert uground(Gold(act("click"), ((0, 0, 1, 1), BOX)), act("click")).success
    box = (400.4, 200.0, 500.0, 250.0)
    assert not uground(Gold(act("click"), (box,)), act("click", point=(400, 225))).success


def test_uground_leaves_no_step_out():
    assert uground(Gold(act("click")), act("click")) == ElementVerdict(False, 1.0, False)
    assert uground(Gold(act("type", "x")), act("type", "x", None)) == ElementVerdict(False, 1.0, False)


@pytest.mark.parametrize(
    ("gold", "predicted", "f1"),
    [
        ("a , b", "a b", 1.0),
        ("a ./ b", "a b", 1.0),  # stands so in the list of punctuation marks
        ("a .. b", "a b", pytest.approx(6 / 7)),  # does not
        ("none", "none", pytest.approx(2 / 3)),  # predicted it means no value
        ("a", None, pytest.approx(2 / 3)),
    ],
)
def test_uground_drops_bare_punctuation(gold: str, predicted: str | None, f1: float):
    assert uground(Gold(act("type", gold), (BOX,)), act("type", predicted)).operation_f1 == f1


# --- the original ------------------------------------------------------------------------------------------------------

PAGE = (
    Element("page", (0.0, 0.0, 1000.0, 1000.0)),
    Element("form", (100.0, 100.0, 500.0, 500.0), positive=True),
    Element("field", BOX),
    Element("hidden", None, positive=True),
)


def test_the_original_asks_which_element_was_chosen():
    gold = Gold(act("click"), (), None, PAGE)
    assert original(gold, act("click")) == ElementVerdict(False, 1.0, False)  # the smallest around the place: `field`
    assert original(gold, act("click", point=(450, 450))) == ElementVerdict(True, 1.0, True)
    assert original(gold, act("click", point=(900, 900))).element_accuracy is False
    assert original(gold, act("click", point=None)).element_accuracy is False
    assert original(gold, act("click", point=(1001, 1))).element_accuracy is False  # nothing is there
    assert original(gold, act("click", arguments={"element": "hidden"})).success
    assert original(gold, None) == WRONG


def test_the_original_without_a_right_element_is_all_wrong_and_without_elements_silent():
    assert original(Gold(act("click"), (), None, (PAGE[0],)), act("click")) == WRONG
    assert original(Gold(act("click"), (), None, ()), act("click")) == WRONG
    assert original(Gold(act("click"), (BOX,)), act("click")) == SKIPPED


def test_the_original_minds_case_and_punctuation():
    gold = Gold(act("type", "A ,"), (), None, PAGE)
    assert original(gold, act("type", "A ,", (450, 450))).success
    assert original(gold, act("type", "a ,", (450, 450))).operation_f1 == pytest.approx(2 / 3)
    assert original(gold, act("type", "A", (450, 450))).operation_f1 == pytest.approx(0.8)
