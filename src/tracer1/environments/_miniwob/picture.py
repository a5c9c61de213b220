"""Screenshots as small PNG files, pixel for pixel the same. It knows nothing of pages or steps."""

import io
from typing import Any

from tracer1.errors import MissingDependency

PALETTE = 256  # colours that fit into a PNG palette


def shrink_png(png: bytes) -> bytes:
    """The same picture in fewer bytes: RGB without alpha, a palette where at most 256 colours occur.

    Args:
        png: An opaque 8-bit PNG, such as a screenshot.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency("Pillow is needed to store screenshots. Run: pip install pillow") from error
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    colours = picture.getcolors(PALETTE)
    if colours is not None:
        picture = _with_palette(picture, [colour for _, colour in sorted(colours, key=lambda c: -c[0])])
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _with_palette(picture: Any, colours: list[tuple[int, int, int]]) -> Any:
    """`picture` (RGB) as indices into `colours`; quantising by nearest colour is exact when every colour is listed."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture, np.uint32) @ np.array([65536, 256, 1], np.uint32)  # (H, W) 0xRRGGBB
    keys = np.array([r << 16 | g << 8 | b for r, g, b in colours], np.uint32)
    order = np.argsort(keys)
    indices = order[np.searchsorted(keys[order], pixels)].astype(np.uint8)
    indexed = Image.frombytes("P", picture.size, indices.tobytes())
    indexed.putpalette([value for colour in colours for value in colour])
    return indexed
