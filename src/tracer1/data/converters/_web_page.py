"""The part of a full-page screenshot that a step shows: one window of the page that holds the step's target.

Which part depends on the step's id only, so that training, validation and everybody's benchmark see the same. It knows nothing about
operations or files.
"""

import contextlib
import io
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tracer1.data.images import image_format
from tracer1.data.ordering import uniform
from tracer1.schema import Box, Point

Rect = tuple[float, float, float, float]  # x, y, width, height in pixels of the page

MIN_HEIGHT, MAX_HEIGHT = 1000, 1400  # pixels of a window, both included; its width is the page's
QUALITY = 95  # of the JPEG that a part of a page becomes; a page that needs no cutting keeps its bytes
MAX_PAGE_PIXELS = 200_000_000  # pages of some 100 million pixels are known; Pillow's own limit takes them for an attack


@dataclass(frozen=True, slots=True)
class View:
    """A window of a page and what of the target is seen in it."""

    image: bytes
    size: tuple[int, int]  # width, height in pixels
    top: int  # pixels of the page above the window
    page_size: tuple[int, int]
    boxes: tuple[Box, ...]  # of the targets in 0..1000 of the window, the first the one that was asked for
    point: Point | None  # the middle of the first; None where no target lies on the page


def view(page: bytes, targets: Sequence[Rect], name: str) -> View:
    """Cuts the window of a step.

    Args:
        page: The screenshot as recorded.
        targets: Where the targets are, the one to act on first; what lies outside the page is left out.
        name: The step's id, which decides about the height of the window and where the target is in it.

    Raises:
        ValueError: The page does not decode.
    """
    from PIL import Image

    broken = (OSError, SyntaxError, EOFError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)
    try:
        with _large_pages(), Image.open(io.BytesIO(page)) as picture:
            width, height = picture.size
            seen = [part for target in targets if (part := _clipped(target, 0, width, height)) is not None]
            top, bottom = window(seen, height, name)
            image = page
            if (top, bottom) != (0, height) or image_format(page) is None:
                image = _jpeg(picture.crop((0, top, width, bottom)))
    except broken as error:
        raise ValueError("the bytes are no known image" if "cannot identify" in str(error) else str(error)) from error
    parts = [part for target in seen if (part := _clipped(target, top, width, bottom)) is not None]
    boxes = tuple(_scaled(part, top, width, bottom - top) for part in parts)
    point = ((boxes[0][0] + boxes[0][2]) / 2, (boxes[0][1] + boxes[0][3]) / 2) if boxes else None
    return View(image, (width, bottom - top), top, (width, height), boxes, point)


def window(targets: Sequence[Rect], page_height: int, name: str) -> tuple[int, int]:
    """The first row of the window and the first below it.

    It holds all targets where they fit, else the first, else the middle of the first; without a target it is the top of the page.
    """
    height = min(page_height, MIN_HEIGHT + int(uniform("window height", name) * (MAX_HEIGHT - MIN_HEIGHT + 1)))
    if not targets:
        return 0, height
    above, below = min(t[1] for t in targets), max(t[1] + t[3] for t in targets)
    if below - above > height:
        above, below = targets[0][1], targets[0][1] + targets[0][3]
    if below - above > height:
        above = below = (above + below) / 2
    lowest = max(0, math.ceil(below - height))  # where the window may begin
    highest = max(lowest, min(math.floor(above), page_height - height))
    top = lowest + int(uniform("window top", name) * (highest - lowest + 1))
    return top, top + height


def _clipped(rect: Rect, top: float, right: float, bottom: float) -> Rect | None:
    """The part of a rectangle that lies within 0..right and top..bottom; None where nothing does."""
    x1, y1 = max(rect[0], 0.0), max(rect[1], float(top))
    x2, y2 = min(rect[0] + rect[2], float(right)), min(rect[1] + rect[3], float(bottom))
    return (x1, y1, x2 - x1, y2 - y1) if x1 <= x2 and y1 <= y2 and x1 < right and y1 < bottom else None


def _scaled(rect: Rect, top: int, width: int, height: int) -> Box:
    x, y, w, h = rect
    return (x / width * 1000, (y - top) / height * 1000, (x + w) / width * 1000, (y + h - top) / height * 1000)


def _jpeg(picture: Any) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


@contextlib.contextmanager
def _large_pages() -> Iterator[None]:
    """Raises Pillow's limit of pixels while one page is decoded: for pages of this kind only, and not for good."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MAX_PAGE_PIXELS
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
