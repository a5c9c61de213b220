"""When two screenshots count as the same."""

import io

from PIL import Image, ImageChops

LEVELS, PIXELS = 2, 40  # of 255, and of 33,600


def same_screen(a: bytes, b: bytes) -> bool:
    """Equal but for rounding: Chromium redraws only what changed, and the edge of such a part may be one level off."""
    first, second = (Image.open(io.BytesIO(png)).convert("RGB") for png in (a, b))
    difference = ImageChops.difference(first, second)
    off = [pixel for pixel in difference.getdata() if any(pixel)] if difference.getbbox() else []
    return len(off) <= PIXELS and all(max(pixel) <= LEVELS for pixel in off)
