"""AndroidControl's rules, each clause and edge worked out by hand."""

import pytest

from tracer1.errors import ConfigError, UnknownName
from tracer1.metrics.rules import RULES, ActionVerdict, Gold, Rule, make_rule
from tracer1.schema import Action, Box, Point


def rule(name: str, **settings) -> Rule:
    return make_rule(f"android_control.{name}", settings)


def click(x: float, y: float, kind: str = "click") -> Action:
    return Action(kind, point=(x, y))


def typed(text: str | None) -> Action:
    return Action("type", content=text)


def opened(name: str | None) -> Action:
    return Action("open_app", app_name=name)


def scrolled(direction: str | None) -> Action:
    return Action("scroll", direction=direction)


def success(rule: Rule, gold: Action, predicted: Action | None, boxes: tuple[Box, ...] = (), size=None) -> bool:
    return rule(Gold(gold, boxes, size), predicted).success


MISS = ActionVerdict(False, None, False)
ALL = ("os_atlas", "qwen25", "os_genesis", "gui_r1")


@pytest.mark.parametrize("name", ALL)
def test_an_answer_that_could_not_be_read_is_wrong_not_left_out(name: str):
    assert rule(name)(Gold(typed("a")), None) == MISS
    assert rule(name)(Gold(click(1, 1)), None) == ActionVerdict(False, False, False)


@pytest.mark.parametrize("name", ALL)
def test_the_place_counts_only_where_the_type_agrees(name: str):
    verdict = rule(name)(Gold(click(500, 500)), click(500, 500, "long_press"))
    assert verdict == ActionVerdict(False, False, False)
    assert rule(name)(Gold(click(500, 500)), Action("tap", point=(500, 500))) == ActionVerdict(True, True, True)


@pytest.mark.parametrize("name", ALL)
def test_without_a_place_the_type_agrees_and_the_click_misses(name: str):
    assert rule(name)(Gold(click(0, 0)), Action("click")) == ActionVerdict(True, False, False)


@pytest.mark.parametrize("name", ALL)
def test_waiting_and_buttons_need_no_more_than_their_type(name: str):
    for kind in ("wait", "press_back", "press_home", "finished"):
        assert rule(name)(Gold(Action(kind)), Action(kind)) == ActionVerdict(True, None, True)
    assert rule(name)(Gold(Action("finished", content="bye")), Action("complete")).success


# --- OS-Atlas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "hit"),
    [
        ((640, 500), True),  # exactly 140
        ((640.001, 500), False),
        ((584, 612), True),  # 84 and 112: exactly 140
        ((584, 612.1), False),
        ((500, 360), True),
        ((600, 600), False),  # 141.4
    ],
)
def test_os_atlas_clicks_within_140(point: Point, hit: bool):
    for kind in ("click", "long_press"):
        verdict = rule("os_atlas")(Gold(click(500, 500, kind)), click(*point, kind))
        assert verdict == ActionVerdict(True, hit, hit)


def test_os_atlas_does_not_look_at_boxes():
    assert not success(rule("os_atlas"), click(500, 500), click(900, 500), ((0, 0, 1000, 1000),))
    assert success(rule("os_atlas"), click(500, 500), click(500, 600), ((499, 499, 501, 501),))


@pytest.mark.parametrize(
    ("gold", "predicted", "whole", "compat"),
    [
        ("hello world", "hello there", False, True),  # F1 0.5 is not above 0.5; the first word agrees
        ("hello world", "hello world again", True, True),  # 2 of 2 and 2 of 3: 0.8
        ("the new york times", "new york times", True, False),  # 6/7, but another first word
        ("new york", "new", True, False),  # 2/3; the script compares "[new" with "[new]"
        ("Pizza", "pizza", True, True),  # case does not count
        ("a a a b", "b a", True, False),  # sets: words that come twice count once
        ("one two three", "one", False, False),  # 2 * 1 * 1/3 / (4/3) = 0.5
        ("", "", True, True),
        ("", "x", False, False),
        ("x", None, False, False),
        ("x y", "X Z", False, True),
    ],
)
def test_os_atlas_texts(gold: str, predicted: str | None, whole: bool, compat: bool):
    for make in (typed, opened):
        assert success(rule("os_atlas"), make(gold), make(predicted)) is whole
        assert success(rule("os_atlas", compat=True), make(gold), make(predicted)) is compat


def test_os_atlas_directions_are_the_revealed_side_on_both_sides():
    assert success(rule("os_atlas"), scrolled("down"), Action("scroll", direction="down", point=(1, 1)))
    assert rule("os_atlas")(Gold(scrolled("down")), scrolled("up")) == ActionVerdict(True, None, False)
    assert not success(rule("os_atlas"), scrolled("down"), scrolled(None))


def test_os_atlas_compares_what_it_does_not_know_exactly():
    assert success(rule("os_atlas"), Action("hotkey", key="enter"), Action("hotkey", key="enter"))
    assert not success(rule("os_atlas"), Action("hotkey", key="enter"), Action("hotkey", key="esc"))
    tool = Action("search", arguments={"q": "x"})
    assert success(rule("os_atlas"), tool, tool)
    assert not success(rule("os_atlas"), tool, Action("search", arguments={"q": "y"}))


# --- Qwen2.5-VL --------------------------------------------------------------------------------------------------------

BOX = (400.0, 400.0, 600.0, 500.0)  # enlarged: 380, 390, 620, 510


@pytest.mark.parametrize(
    ("point", "hit"), [((380, 390), True), ((620, 510), True), ((379.9, 450), False), ((500, 510.1), False)]
)
def test_qwen_enlarges_boxes_edges_included(point: Point, hit: bool):
    assert rule("qwen25")(Gold(click(410, 410), (BOX,)), click(*point)).click_match is hit


def test_qwen_takes_any_box_or_the_distance():
    far = (900.0, 900.0, 950.0, 950.0)
    assert success(rule("qwen25"), click(410, 410), click(920, 920), (BOX, far))
    assert success(rule("qwen25"), click(410, 380), click(410, 340), (BOX,))  # outside of the box, 40 away
    assert not success(rule("qwen25"), click(410, 380), click(410, 339), (BOX,))


def test_qwen_measures_pixels_of_the_longer_side_where_the_screen_is_known():
    phone = (1080, 2400)  # 96 pixels: 88.9 across, 40 down
    assert success(rule("qwen25"), click(500, 500), click(588, 500), size=phone)
    assert not success(rule("qwen25"), click(500, 500), click(589, 500), size=phone)
    assert success(rule("qwen25"), click(500, 500), click(500, 540), size=phone)
    assert not success(rule("qwen25"), click(500, 500), click(541, 500))  # unknown: relative to each side
    assert success(rule("qwen25", width=1080, height=2400), click(500, 500), click(541, 500))


@pytest.mark.parametrize(
    ("gold", "predicted", "same"),
    [("New York", " york ", True), ("york", "in New York", True), ("york", "yorkshire pud", True), ("a b", "b a", False),
     ("x", "", True), ("x", None, False)],
)  # fmt: skip
def test_qwen_texts_contain_each_other(gold: str, predicted: str | None, same: bool):
    for make in (typed, opened):
        assert success(rule("qwen25"), make(gold), make(predicted)) is same


def test_qwen_opens_an_app_by_its_icon():
    gold = Gold(opened("Maps"), (BOX,))
    assert rule("qwen25")(gold, click(610, 505)) == ActionVerdict(True, True, True)
    assert rule("qwen25")(gold, click(620, 520)) == ActionVerdict(True, False, False)
    assert rule("qwen25")(Gold(opened("Maps")), click(500, 450)) == MISS  # no icon: a click is wrong
    assert rule("qwen25")(gold, click(500, 450, "long_press")) == MISS


def test_qwen_buttons_are_one_type():
    assert rule("qwen25")(Gold(Action("press_back")), Action("press_home")) == ActionVerdict(True, None, False)
    assert rule("qwen25")(Gold(Action("press_back")), Action("navigate_back")) == ActionVerdict(True, None, True)
    assert not success(rule("qwen25"), Action("hotkey", key="enter"), Action("hotkey", key="home"))


def test_qwen_scrolls_by_direction():
    assert success(rule("qwen25"), scrolled("left"), scrolled("left"))
    assert rule("qwen25")(Gold(scrolled("left")), scrolled("right")) == ActionVerdict(True, None, False)


# --- OS-Genesis --------------------------------------------------------------------------------------------------------


def test_os_genesis_measures_pixels_whatever_the_screen():
    # 0.14 of 1080 and of 2400: the diagonal of 151.2 x 336 pixels, 368.45
    assert success(rule("os_genesis"), click(500, 500), click(640, 640))
    assert not success(rule("os_genesis"), click(500, 500), click(500, 654))  # 369.6
    assert success(rule("os_genesis"), click(500, 500), click(500, 653))
    assert success(rule("os_genesis"), click(0, 0), click(1000, 368), size=(1, 1000))
    assert not success(rule("os_genesis"), click(0, 0), click(0, 369), size=(1, 1000))


def test_os_genesis_wants_app_names_and_directions_equal():
    assert not success(rule("os_genesis"), opened("Zoho Meet"), opened("Zoho"))
    assert success(rule("os_genesis"), opened("Zoho"), opened("Zoho"))
    assert not success(rule("os_genesis"), scrolled("up"), scrolled("down"))
    assert success(rule("os_genesis"), typed("new york"), Action("input_text", content="York new"))
    assert not success(rule("os_genesis"), typed("new york"), typed("new jersey"))


# --- GUI-R1 ------------------------------------------------------------------------------------------------------------


def test_gui_r1_is_strict_at_the_edges():
    assert not success(rule("gui_r1"), click(500, 500), click(640, 500))  # exactly 140
    assert success(rule("gui_r1"), click(500, 500), click(639.9, 500))
    assert not success(rule("gui_r1"), click(500, 450), click(400, 450), (BOX,))
    assert success(rule("gui_r1"), click(500, 450), click(401, 450), (BOX,))
    assert not success(rule("gui_r1"), click(500, 399), click(500, 399), (BOX,))  # the box alone decides


def test_gui_r1_words():
    assert success(rule("gui_r1"), typed("hello world"), typed("hello there"))  # 0.5 is enough
    assert success(rule("gui_r1"), typed("yorkshire"), typed("york"))  # one word each: a part is enough
    assert success(rule("gui_r1"), typed("[x] y"), typed("x y"))
    assert not success(rule("gui_r1"), typed("a b c"), typed("a d e"))
    assert not success(rule("gui_r1"), scrolled("up"), scrolled("down"))
    assert success(rule("gui_r1"), typed("no text"), typed(None))  # "no input text" has both words


def test_gui_r1_looks_at_nothing_else():
    assert success(rule("gui_r1"), opened("Maps"), opened("Mail"))
    assert rule("gui_r1")(Gold(click(1, 1, "long_press")), click(900, 900, "long_press")) == ActionVerdict(
        True, None, True
    )


# --- finding rules -----------------------------------------------------------------------------------------------------


def test_names_come_from_folders_and_files():
    assert RULES.names() == [
        "agentnetbench", "android_control.gui_r1", "android_control.os_atlas", "android_control.os_genesis",
        "android_control.qwen25", "gui_odyssey.ams", "gui_odyssey.os_atlas", "mind2web.original", "mind2web.seeclick",
        "mind2web.uground",
    ]  # fmt: skip


def test_a_mistake_is_answered_with_the_nearest():
    with pytest.raises(
        UnknownName, match=r"No rule 'android_control.atlas'\. Did you mean 'android_control.os_atlas'\?"
    ):
        rule("atlas")
    with pytest.raises(ConfigError, match=r"has no setting 'compt'\. Did you mean 'compat'\? Known: compat\."):
        rule("os_atlas", compt=True)
    with pytest.raises(ConfigError, match=r"os_atlas\.compat is 1; it must be true or false"):
        rule("os_atlas", compat=1)
    with pytest.raises(ConfigError, match=r"has no setting 'k'\. It has none"):
        rule("gui_r1", k=1)
