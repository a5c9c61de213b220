"""Five queries of GTA, with their images, through the toolbox and the real sandbox: the reference calls that need no weights."""

import re
from collections.abc import Iterator

import pytest
from desks import Bench, need_data, need_tesseract, real_sandbox
from test_gta_tools import Seer

from tracer1.toolbox.backends import Backends
from tracer1.toolbox.gta import GTA


@pytest.fixture(scope="module")
def sandbox() -> Iterator:
    need_tesseract()
    with real_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def bench(tmp_path, sandbox) -> Bench:
    folder = need_data("gta", "figure_samples", "image")
    for image in folder.glob("*.jpg"):
        (tmp_path / image.name).write_bytes(image.read_bytes())
    return Bench(tmp_path, GTA, Backends(vision=Seer("6")), sandbox)


def test_bill_how_much_was_spent_on_food(bench):
    lines = bench.value("OCR", image="bill.jpg").splitlines()
    food = ("MILK", "TORTILLA", "RASPBERRIES", "STARBUCKS", "BOURBON", "REDUCED")
    prices = [re.search(r"\d+\.\d\d$", line).group() for line in lines if any(name in line for name in food)]
    assert bench.value("Calculator", expression=" + ".join(prices)) == "10.81"


def test_egg_how_many_boxes_are_needed_for_twelve_servings(bench):
    recipe = bench.value("OCR", image="egg_2.jpg")
    each = re.search(r"\) (\d+) egg", recipe).group(1)
    in_a_box = bench.value("CountGivenObject", image="egg_1.jpg", text="eggs")  # the only one that needs a model
    assert bench.value("Calculator", expression=f"math.ceil(12 * {each} / {in_a_box})") == "2"


def test_menu_which_food_can_be_bought(bench):
    menu = bench.value("OCR", image="menu.jpg")
    for dish in ("Chicken Burger", "Beef Burger", "Pan-Cake", "Jelly Doughnuts"):
        assert dish in menu
    assert re.findall(r"Chicken Burger \$(\S+)", menu) == ["11.00"]
    assert (
        bench.value("Calculator", expression="11.00 + 9.00 < 22") == "True"
    )  # its 9 is read as a 0: seven pixels high


def test_panel_which_buttons_are_pressed(bench):
    panel = bench.value("OCR", image="panel.jpg")
    for button in ("10 min.", "1 min.", "10 sec.", "START"):
        assert button in panel
    assert bench.value("Calculator", expression="(2 * 60 - 60 - 30) / 10") == "3.0"


def test_map_the_highest_rated_restaurant_is_circled(bench):
    lines = bench.value("OCR", image="map.jpg").splitlines()
    ratings = {float(found.group(1)): line for line in lines if (found := re.search(r"\b([0-4]\.\d)\b", line))}
    best = max(ratings)
    assert best == 4.6
    box = [int(side) for side in re.findall(r"\d+", ratings[best])[:4]]
    assert box[0] <= 264 <= box[2]  # the fork of Trattoria Emilia
    result = bench.call("DrawBox", image="map.jpg", bbox=str(tuple(box)), annotation="4.6")
    assert result.files == ("boxed_1.png",)
    assert bench.image("boxed_1.png").size == bench.image("map.jpg").size
