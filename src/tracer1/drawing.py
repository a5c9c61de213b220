"""Draws a plan or an action on its screenshot. It knows nothing about tables, pages or files: bytes in, bytes out."""

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from tracer1.errors import DataError
from tracer1.schema import Action, Box, Plan, Point, Step

FIRST, LATER, REFERENCE = (
    (214, 39, 40),
    (31, 88, 180),
    (0, 158, 80),
)  # what runs now, what is planned, what the expert did
MIN_SIDE_MANY = 420  # the same where many stand on one page
WHITE = (255, 255, 255)
_MIDDLE = (500.0, 500.0)
_WAYS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}  # of a scroll, on the screen
MIN_SIDE, MAX_SIDE = 640, 960  # the longer side of the drawing, in pixels: readable, and 24 of them still load


def draw_plan(screenshot: bytes, plan: Plan, reference: Step | None = None) -> bytes:
    """The screenshot with the plan's places numbered from 1 in order, and the reference's target outlined.

    The first step of the plan, the one that is executed, is a larger red disc; later ones are blue; drags are arrows, and so are
    scrolls, towards the side whose content is revealed.
    The reference is green: its boxes, or a ring where it has only a point. A number is the step's rank in the plan, so
    steps without a place leave gaps.

    Args:
        screenshot: A PNG or JPEG.
        plan: What the response said; may be empty.
        reference: The step whose expert action is outlined.

    Returns:
        A PNG whose longer side is between 640 and 960 pixels.

    Raises:
        DataError: `screenshot` is not an image.
    """
    image = _resized(_open(screenshot))
    draw = ImageDraw.Draw(image)
    if reference is not None:
        _draw_reference(draw, image.size, reference)
    located = [
        (k, s.action) for k, s in enumerate(plan.steps, 1) if s.action is not None and _place(s.action) is not None
    ]
    for number, action in reversed(located):  # the first one last, on top of the others
        colour, radius = (FIRST, 15) if number == 1 else (LATER, 11)
        start = _pixel(_place(action), image.size)
        if action.direction in _WAYS:
            _arrow(draw, start, _scrolled(start, action.direction, image.size), colour)
        elif action.end_point is not None:
            _arrow(draw, start, _pixel(action.end_point, image.size), colour)
        _disc(draw, start, radius, colour)
        font = ImageFont.load_default(radius * 1.3)
        draw.text(start, str(number), fill=WHITE, font=font, anchor="mm")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def draw_action(screenshot: bytes, action: Action | None, boxes: Sequence[Box] = ()) -> tuple[bytes, float]:
    """The screenshot with one action on it, small enough for a page with many.

    The target's boxes are green, the point is a red disc, a drag is an arrow from there to its end, and a scroll is an arrow
    towards the side whose content is revealed, from its point or else from the middle.

    Args:
        screenshot: A PNG or JPEG.
        action: What was done; None draws the boxes alone.
        boxes: Of the action's target.

    Returns:
        A WebP whose longer side is between 420 and 960 pixels, and its size as a multiple of the screenshot's.

    Raises:
        DataError: `screenshot` is not an image.
    """
    whole = _open(screenshot)
    image = _resized(whole, MIN_SIDE_MANY)
    draw = ImageDraw.Draw(image)
    for box in boxes:
        _outline(draw, box, image.size)
    point = None if action is None else action.point
    place = None if action is None else _place(action)
    start = None if place is None else _pixel(place, image.size)
    if action is not None and action.direction in _WAYS:
        _arrow(draw, start, _scrolled(start, action.direction, image.size), FIRST)
    elif start is not None and action is not None and action.end_point is not None:
        _arrow(draw, start, _pixel(action.end_point, image.size), FIRST)
    if point is not None and start is not None:
        _disc(draw, start, 9, FIRST)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=80, method=4)
    return out.getvalue(), image.width / whole.width


def _open(screenshot: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(screenshot)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"A screenshot of {len(screenshot)} bytes is not an image ({error}). Check the shard it comes from."
        ) from error


def _resized(image: Image.Image, least: int = MIN_SIDE) -> Image.Image:
    longer = max(image.size)
    scale = min(max(1.0, least / longer), MAX_SIDE / longer)
    scale = math.ceil(scale) if scale >= 2 else scale  # whole numbers keep the glyphs of tiny screenshots even
    if scale == 1.0:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)


def _pixel(point: Point, size: tuple[int, int]) -> tuple[float, float]:
    """0..1000 to pixels; a place off the screen is drawn on its edge."""
    x, y = (part * side / 1000 for part, side in zip(point, size, strict=True))
    return _pixel_inside((x, y), size)


def _pixel_inside(pixel: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    x, y = (min(max(part, 0.0), side - 1) for part, side in zip(pixel, size, strict=True))
    return x, y


def _place(action: Action) -> Point | None:
    """Where an action is drawn: a scroll without a point in the middle."""
    return _MIDDLE if action.point is None and action.direction in _WAYS else action.point


def _scrolled(start: tuple[float, float], direction: str, size: tuple[int, int]) -> tuple[float, float]:
    """Where the arrow of a scroll ends: towards the side whose content is revealed."""
    across, down = _WAYS[direction]
    reach = min(size) / 5
    return _pixel_inside((start[0] + across * reach, start[1] + down * reach), size)


def _draw_reference(draw: ImageDraw.ImageDraw, size: tuple[int, int], reference: Step) -> None:
    for box in reference.boxes:
        _outline(draw, box, size)
    action = reference.future[0].action if reference.future else None
    if not reference.boxes and action is not None and action.point is not None:
        x, y = _pixel(action.point, size)
        for radius, colour in ((21, WHITE), (19, REFERENCE)):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=3)


def _outline(draw: ImageDraw.ImageDraw, box: Box, size: tuple[int, int]) -> None:
    (x1, y1), (x2, y2) = _pixel(box[:2], size), _pixel(box[2:], size)
    corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    draw.rectangle(corners, outline=WHITE, width=5)
    draw.rectangle(corners, outline=REFERENCE, width=3)


def _disc(draw: ImageDraw.ImageDraw, centre: Sequence[float], radius: int, colour: tuple[int, int, int]) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=WHITE, width=2)


def _arrow(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], colour: tuple[int, int, int]
) -> None:
    """A line with a head at `end`."""
    draw.line((*start, *end), fill=WHITE, width=6)
    draw.line((*start, *end), fill=colour, width=3)
    across, down = end[0] - start[0], end[1] - start[1]
    length = max((across**2 + down**2) ** 0.5, 1.0)
    across, down = across / length * 12, down / length * 12
    left = (end[0] - across - down * 0.6, end[1] - down + across * 0.6)
    right = (end[0] - across + down * 0.6, end[1] - down - across * 0.6)
    draw.polygon((end, left, right), fill=colour, outline=WHITE)
