"""Operations on images with Pillow: opening within limits, cropping, drawing, joining. It knows nothing of tools or models.

Places are pixels of the upright image (x to the right, y down): the orientation that a camera notes is applied on opening.
"""

import ast
import re
import warnings
from typing import Any

from tracer1.toolbox.inside import Unusable, answering

MAX_PIXELS = 50_000_000  # of an image that is opened or made; 50 million are 150 MB as RGB
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # Pillow hands others to programs
SMALLEST_FONT = 10
ANCHORS = {"l": "left", "m": "middle", "r": "right"}, {"t": "top", "m": "middle", "b": "bottom"}


def open_image(path: str, mode: str = "RGB") -> Any:
    """A decoded, upright `PIL.Image` of a mode; of several frames the first.

    Raises:
        Unusable: not an image, a damaged one, or one of more than MAX_PIXELS.
    """
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `fits` is stricter
            with Image.open(path, formats=FORMATS) as image:
                fits(*image.size, f"{path!r} is")
                upright = ImageOps.exif_transpose(image)
                return (_flat(upright) if mode != "RGBA" else upright).convert(mode)
    except Image.UnidentifiedImageError as problem:
        raise Unusable(
            "failed", f"{path!r} is not an image that can be read (PNG, JPEG, WebP, GIF, BMP, TIFF)."
        ) from problem
    except Image.DecompressionBombError as problem:
        raise Unusable("refused", f"{path!r} is larger than {MAX_PIXELS:,} pixels; give a smaller image.") from problem
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        OverflowError,
    ) as problem:  # what Pillow raises on damaged files
        raise Unusable("failed", f"{path!r} is damaged: {problem}.") from problem


def fits(width: int, height: int, what: str) -> None:
    """Raises Unusable for an image without pixels or with more than MAX_PIXELS."""
    if not (width >= 1 and height >= 1 and width * height <= MAX_PIXELS):
        raise Unusable("refused", f"{what} {width} x {height} pixels; it takes 1 to {MAX_PIXELS:,} pixels in all.")


def within(box: Any, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels of a box `[x1, y1, x2, y2]`, cut off at the edges of an image; raises Unusable where none is left."""
    width, height = size
    x1, y1, x2, y2 = (round(min(max(float(value), -1e9), 1e9)) for value in box)
    left, top, right, bottom = (
        max(0, min(x1, x2)),
        max(0, min(y1, y2)),
        min(width, max(x1, x2)),
        min(height, max(y1, y2)),
    )
    if left >= right or top >= bottom:
        raise Unusable(
            "bad_arguments",
            f"The box ({x1}, {y1}, {x2}, {y2}) covers nothing of the image, which is {width} x {height} pixels.",
        )
    return left, top, right, bottom


def box_of(written: Any) -> list[float]:
    """A box given as four numbers or as text: `(x1, y1, x2, y2)`, with or without brackets."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?", written) if isinstance(written, str) else list(written)
    if len(numbers) != 4:
        raise Unusable("bad_arguments", f"{written!r:.60} is not a box; write it as (x1, y1, x2, y2).")
    return [float(number) for number in numbers]


@answering
def info(path: str) -> dict[str, Any]:
    """Width, height, format and mode of an image, before anything is converted."""
    from PIL import Image

    upright = open_image(path)
    with Image.open(path) as image:
        return {
            "width": upright.width, "height": upright.height, "format": image.format, "mode": image.mode,
            "frames": getattr(image, "n_frames", 1),
        }  # fmt: skip


@answering
def crop(path: str, box: Any, out: str) -> list[int]:
    """Cuts a box out; answers the box that was cut."""
    image = open_image(path)
    place = within(box_of(box), image.size)
    image.crop(place).save(out)
    return list(place)


@answering
def resize(path: str, width: int | None, height: int | None, out: str) -> list[int]:
    """Another size; of width and height the one that is missing follows from the other. Answers the new size."""
    from PIL import Image

    image = open_image(path)
    if width is None and height is None:
        raise Unusable("bad_arguments", "resize_image needs a width, a height, or both, in pixels.")
    width = round(image.width * height / image.height) if width is None else width
    height = round(image.height * width / image.width) if height is None else height
    fits(width, height, "The new size is")
    image.resize((width, height), Image.Resampling.LANCZOS).save(out)
    return [width, height]


@answering
def rotate(path: str, degrees: float, out: str) -> list[int]:
    """Turned counterclockwise about its centre, enlarged so that nothing is cut off, white corners. Answers the new size."""
    turned = open_image(path).rotate(degrees, expand=True, fillcolor="white")
    turned.save(out)
    return list(turned.size)


@answering
def draw_box(path: str, box: Any, annotation: str | None, out: str) -> list[int]:
    """A red outline filled with a quarter of red, and a note above its left corner (in it where there is no room above)."""
    from PIL import Image, ImageDraw

    image = open_image(path)
    place = within(box_of(box), image.size)
    veil = Image.new("RGBA", image.size, (0, 0, 0, 0))
    ImageDraw.Draw(veil).rectangle(place, fill=(255, 0, 0, 64), outline="red", width=max(1, round(image.height / 200)))
    image = Image.alpha_composite(image.convert("RGBA"), veil).convert("RGB")
    if annotation:
        font = font_for(image.height)
        draw = ImageDraw.Draw(image)
        above = place[1] - font.size * 1.3 >= 0
        draw.text((place[0], place[1]), annotation, fill="red", font=font, anchor="lb" if above else "la")
    image.save(out)
    return list(place)


@answering
def add_text(path: str, text: str, position: str, color: str, out: str) -> list[int]:
    """Text, of which `position` is the left-bottom corner `(x, y)`, or one of l m r and one of t m b: "mt" is middle-top.

    Answers the box that the text fills.
    """
    from PIL import ImageColor, ImageDraw

    image = open_image(path)
    try:
        fill = ImageColor.getrgb(color)
    except ValueError as problem:
        raise Unusable("bad_arguments", f'{color!r:.40} is not a colour; write "red" or "#ff0000".') from problem
    draw, font = ImageDraw.Draw(image), font_for(image.height)
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font)
    x, y = _corner(position, image.size, (right - left, bottom - top))
    draw.multiline_text((x - left, y - top), text, fill=fill, font=font)
    image.save(out)
    return [round(value) for value in (x, y, x + right - left, y + bottom - top)]


@answering
def side_by_side(paths: list[str], out: str) -> list[int]:
    """Images in a row, all brought to the height of the tallest, ten white pixels between them. Answers the size."""
    from PIL import Image

    images = [open_image(path) for path in paths]
    if not images:
        raise Unusable("bad_arguments", "side_by_side needs at least one image.")
    height = max(image.height for image in images)
    widths = [round(image.width * height / image.height) for image in images]
    size = sum(widths) + 10 * (len(images) - 1), height
    fits(*size, "Side by side the images are")
    row, x = Image.new("RGB", size, "white"), 0
    for image, width in zip(images, widths, strict=True):
        row.paste(image.resize((width, height), Image.Resampling.LANCZOS), (x, 0))
        x += width + 10
    row.save(out)
    return list(size)


@answering
def paste(path: str, other: str, position: Any, out: str) -> list[int]:
    """`other` laid over an image, its left-top corner at `position` [x, y]; answers the box that it covers."""
    image, over = open_image(path), open_image(other, "RGBA")
    x, y = (round(value) for value in position)
    place = within((x, y, x + over.width, y + over.height), image.size)
    image.paste(over, (x, y), over)
    image.save(out)
    return list(place)


@answering
def convert(path: str, to: str, out: str) -> list[int]:
    """In grey, black and white (threshold 128), inverted, mirrored, or merely as a PNG ("rgb"). Answers the size."""
    from PIL import ImageOps

    image = open_image(path)
    made = {
        "rgb": lambda: image,
        "grayscale": lambda: ImageOps.grayscale(image),
        "black_white": lambda: ImageOps.grayscale(image).point(lambda grey: 255 if grey >= 128 else 0),
        "inverted": lambda: ImageOps.invert(image),
        "mirrored": lambda: ImageOps.mirror(image),
        "flipped": lambda: ImageOps.flip(image),
    }
    if to not in made:
        raise Unusable("bad_arguments", f"convert_image knows no {to!r:.40}. Known: {', '.join(made)}.")
    made[to]().save(out)
    return list(image.size)


def font_for(height: int) -> Any:
    """Pillow's own font in the size that GTA's tools take: 18 on an image of 336 pixels height."""
    from PIL import ImageFont

    return ImageFont.load_default(max(SMALLEST_FONT, int(height / 336 * 18)))


def _corner(position: str, size: tuple[int, int], text: tuple[float, float]) -> tuple[float, float]:
    """The left-top corner of a text of a size, in an image of a size."""
    letters = position.strip().strip("'\"").lower()
    margin = size[0] // 20
    if len(letters) == 2 and letters[0] in ANCHORS[0] and letters[1] in ANCHORS[1]:
        free = size[0] - text[0], size[1] - text[1]
        x = {"l": margin, "m": free[0] / 2, "r": free[0] - margin}[letters[0]]
        return x, {"t": margin, "m": free[1] / 2, "b": free[1] - margin}[letters[1]]
    try:
        x, y = (float(value) for value in ast.literal_eval(letters))
    except (ValueError, SyntaxError, TypeError) as problem:
        raise Unusable(
            "bad_arguments",
            f'{position!r:.40} is not a position; write "(x, y)" (the left-bottom corner of the text), or one of l, m, r and one of '
            't, m, b, such as "mt" (middle-top).',
        ) from problem
    return x, y - text[1]


def _flat(image: Any) -> Any:
    """Transparent parts over white."""
    from PIL import Image

    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
