"""Small drawn pictures as PNG bytes: lines of print, signs, shapes, QR codes. It knows no task."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

Size = tuple[int, int]  # width, height in pixels
Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels

INK, PAPER = 0, 255
GREYS = 16  # levels of a stored picture: print stays legible at a third of the bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """How print is set, in pixels."""

    letters: int  # height
    margin: int
    gap: int  # between lines


def printed(lines: Sequence[str], layout: Layout) -> bytes:
    """Lines of dark print on light paper, as high and wide as they need."""
    font = _font(layout.letters)
    step = layout.letters + layout.gap
    width = round(max(font.getlength(line) for line in lines)) + 2 * layout.margin
    image = Image.new("L", (width, step * len(lines) + 2 * layout.margin), PAPER)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((layout.margin, layout.margin + row * step), line, INK, font)
    return _png(image)


def board(size: Size, signs: Sequence[tuple[Box, str]], letters: int) -> bytes:
    """Framed signs, each with a word in its middle."""
    image = Image.new("L", size, PAPER)
    draw = ImageDraw.Draw(image)
    for box, word in signs:
        draw.rectangle(box, outline=INK)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        draw.text(middle, word, INK, _font(letters), anchor="mm")
    return _png(image)


def shapes(size: Size, drawn: Sequence[tuple[str, Box]]) -> bytes:
    """Filled shapes (`disc` or `block`) on paper."""
    image = Image.new("L", size, PAPER)
    draw = ImageDraw.Draw(image)
    for kind, box in drawn:
        (draw.ellipse if kind == "disc" else draw.rectangle)(box, fill=64)
    return _png(image)


def qr_picture(text: str, module: int, margin: int) -> bytes:
    """A QR code; `module` is the side of one of its squares and `margin` the quiet zone, in pixels."""
    import cv2

    code = cv2.QRCodeEncoder_create().encode(text)  # one pixel a square, with a quiet zone of its own
    image = Image.fromarray(code).convert("L")
    image = image.resize((image.width * module, image.height * module), Image.Resampling.NEAREST)
    framed = Image.new("L", (image.width + 2 * margin, image.height + 2 * margin), PAPER)
    framed.paste(image, (margin, margin))
    return _png(framed)


@cache
def _font(letters: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(letters)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.quantize(GREYS).save(stream, "PNG", optimize=True)
    return stream.getvalue()
