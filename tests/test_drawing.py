"""The drawing marks the right pixels."""

import io

import pytest
from PIL import Image

from tracer1.drawing import FIRST, LATER, REFERENCE, draw_action, draw_plan
from tracer1.errors import DataError
from tracer1.schema import Action, Plan, PlanStep, Step

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


def drawn_action(action: Action | None, **more: object) -> Image.Image:
    content, scale = draw_action(png(800, 400), action, **more)
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.size, scale) == ("WEBP", (800, 400), 1.0)
    return image.convert("RGB")


def close(pixel: tuple[int, ...], colour: tuple[int, int, int]) -> bool:
    """WebP changes colours a little."""
    return max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 60


def test_an_action_is_drawn_by_its_kind() -> None:
    click = drawn_action(Action("click", point=(500, 500)), boxes=((250, 250, 750, 750),))
    assert close(click.getpixel((400, 200)), FIRST)
    assert close(click.getpixel((201, 200)), REFERENCE)
    drag = drawn_action(Action("drag", point=(100, 500), end_point=(900, 500)))
    assert close(drag.getpixel((400, 200)), FIRST)
    assert close(drag.getpixel((400, 260)), GREY)
    nothing = drawn_action(Action("type", content="a"))
    assert close(nothing.getpixel((400, 200)), GREY)
    assert close(drawn_action(None).getpixel((400, 200)), GREY)


@pytest.mark.parametrize(
    ("direction", "place"), [("down", (400, 240)), ("up", (400, 160)), ("left", (360, 200)), ("right", (440, 200))]
)
def test_a_scroll_points_to_what_it_reveals(direction: str, place: tuple[int, int]) -> None:
    image = drawn_action(Action("scroll", direction=direction))  # from the middle
    opposite = (800 - place[0], 400 - place[1])
    assert close(image.getpixel(place), FIRST)
    assert close(image.getpixel(opposite), GREY)
    at_a_point = drawn_action(Action("scroll", point=(0, 0), direction=direction))
    assert close(at_a_point.getpixel(place), GREY)
    assert close(at_a_point.getpixel((2, 2)), FIRST)


def test_an_action_on_a_small_or_huge_screenshot() -> None:
    for size, scale in (((160, 210), 2.0), ((3000, 1500), 0.32), ((1280, 7412), 960 / 7412)):
        content, scaled = draw_action(png(*size), Action("click", point=(1000, 1000)))
        assert scaled == pytest.approx(scale, rel=0.02)
        assert 420 <= max(Image.open(io.BytesIO(content)).size) <= 960
    with pytest.raises(DataError, match="is not an image"):
        draw_action(b"no image", None)
