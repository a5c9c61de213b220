"""Accessibility forests: which boxes hold a place, and the few words on a screen."""

import pytest
from raw_android import KEYBOARD, SYSTEM, forest, node, window

from tracer1.data.converters._accessibility import ABSTRACTION_LENGTH, abstraction, boxes_at, read_forest

SCREEN = (0, 0, 1080, 2400)


def boxes(*windows: bytes, at: tuple[float, float]) -> list:
    return boxes_at(read_forest(forest(*windows)), *at)


def test_the_smallest_box_that_holds_the_place_comes_first():
    nodes = [node(SCREEN), node((360, 317, 720, 464), clickable=True), node((494, 365, 586, 416), "PAST")]
    found = boxes(window(*nodes), at=(540, 390))
    assert found == [(494, 365, 586, 416), (360, 317, 720, 464), SCREEN]
    assert boxes(window(*nodes[::-1]), at=(540, 390)) == found
    assert boxes(window(*nodes), at=(400, 390)) == [(360, 317, 720, 464), SCREEN]


def test_boxes_of_all_windows_count_once_each():
    found = boxes(
        window(node((0, 0, 50, 50)), node((0, 0, 50, 50))), window(node((0, 0, 40, 40)), kind=SYSTEM), at=(5, 5)
    )
    assert found == [(0, 0, 40, 40), (0, 0, 50, 50)]


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (10, 10, 10, 20), (30, 30, 10, 10)])
def test_a_box_without_an_inside_holds_nothing(box):
    assert boxes(window(node(box)), at=(10, 10)) == []


def test_invisible_nodes_are_left_out():
    assert boxes(window(node((0, 0, 9, 9), visible=False)), at=(5, 5)) == []


def test_right_and_lower_edge_belong_to_the_neighbour():
    left, right = (0, 0, 50, 50), (50, 0, 100, 50)
    assert boxes(window(node(left), node(right)), at=(50, 0)) == [right]
    assert boxes(window(node(left)), at=(0, 50)) == []


def test_a_box_may_begin_outside_the_screen():
    assert boxes(window(node((-20, -10, 30, 30))), at=(0, 0)) == [(-20, -10, 30, 30)]


def test_what_is_no_forest():
    with pytest.raises(ValueError, match="not a Forest"):
        read_forest(b"\x0b\xff\xff")


def said(*windows: bytes) -> str:
    return abstraction(read_forest(forest(*windows)))


def test_the_active_apps_title_and_its_texts():
    status = window(node(SCREEN, "8:41"), kind=SYSTEM)
    keyboard = window(node(SCREEN, "Qw"), kind=KEYBOARD)
    behind = window(node(SCREEN, "Dialog"), title="Permission")
    app = window(
        node(SCREEN, "JOIN A\n MEETING"),
        node(SCREEN, description="Upcoming"),
        node(SCREEN, "UPCOMING"),
        node(SCREEN, "x"),
        node(SCREEN, "Hidden", visible=False),
        node(SCREEN, "hunter2", password=True),
        node(SCREEN, "Past", "not this"),
        title="Zoho  Meeting",
        active=True,
    )
    assert said(status, keyboard, behind, app) == "Zoho Meeting: Dialog, JOIN A MEETING, Upcoming, Past"


def test_where_no_app_says_anything_the_system_does():
    assert said(window(node(SCREEN, "Wi-Fi"), kind=SYSTEM), window(node(SCREEN))) == "Wi-Fi"
    assert said(window(node(SCREEN), title="Maps", active=True)) == "Maps"
    assert said() == ""


def test_it_is_short():
    line = said(window(*(node(SCREEN, f"{number} " + "word " * 30) for number in range(90))))
    assert 100 < len(line) <= ABSTRACTION_LENGTH
    first = line.split(", ")[0]
    assert first.startswith("0 word word")
    assert first.endswith("…")
    assert len(first) <= 40


def test_a_text_that_is_not_utf8_spoils_nothing():
    assert said(window(node(SCREEN, b"caf\xff"), node(SCREEN, "שלום 😀"))) == "caf�, שלום 😀"
