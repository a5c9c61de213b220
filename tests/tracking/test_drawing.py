"""The drawing marks the right pixels."""

import io

import pytest
from PIL import Image

from tracer1.errors import DataError
from tracer1.schema import Action, Plan, PlanStep, Step
from tracer1.tracking.drawing import FIRST, LATER, REFERENCE, draw_plan

GREY = (128, 128, 128)


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), GREY).save(out, "PNG")
    return out.getvalue()


def plan(*points: tuple[float, float] | None) -> Plan:
    return Plan(steps=tuple(PlanStep(Action("click", point=point)) for point in points))


def drawn(*arguments: object) -> Image.Image:
    return Image.open(io.BytesIO(draw_plan(*arguments))).convert("RGB")


def reference(**fields: object) -> Step:
    future = (PlanStep(Action("click", point=(250, 750))),)
    return Step("k", "d", "t", 0, "u", png(800, 800), (), future, **fields)


def test_points_are_marked_in_their_colours() -> None:
    image = drawn(png(800, 400), plan((500, 500), (250, 250)))
    assert image.size == (800, 400)
    assert image.getpixel((400 - 11, 200)) == FIRST
    assert image.getpixel((200 - 8, 100)) == LATER
    assert image.getpixel((600, 300)) == GREY


def test_numbers_are_ranks_in_the_plan_and_the_first_lies_on_top() -> None:
    both = drawn(png(800, 800), plan((500, 500), (510, 500)))
    assert both.getpixel((400 + 10, 400)) == FIRST
    assert drawn(png(800, 800), plan(None, (500, 500))).getpixel((400 - 8, 400)) == LATER


def test_reference_box_and_ring() -> None:
    boxed = drawn(png(800, 800), Plan(), reference(boxes=((100, 100, 500, 200),)))
    assert boxed.getpixel((240, 81)) == REFERENCE
    assert boxed.getpixel((240, 120)) == GREY
    ring = drawn(png(800, 800), Plan(), reference())
    assert ring.getpixel((200, 600 - 18)) == REFERENCE
    assert ring.getpixel((200, 600)) == GREY


def test_drag_is_an_arrow() -> None:
    drag = Plan(steps=(PlanStep(Action("drag", point=(100, 500), end_point=(900, 500))),))
    assert drawn(png(800, 800), drag).getpixel((400, 400)) == FIRST


@pytest.mark.parametrize(
    ("size", "expected"), [((160, 210), (640, 840)), ((1080, 2400), (432, 960)), ((700, 10), (700, 10))]
)
def test_size_is_readable(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert drawn(png(*size), plan((0, 0), (5000, -70))).size == expected


def test_broken_screenshot() -> None:
    with pytest.raises(DataError, match="not an image"):
        draw_plan(b"no image", Plan())
    with pytest.raises(DataError, match="not an image"):
        draw_plan(png(800, 800)[:-40], Plan())
