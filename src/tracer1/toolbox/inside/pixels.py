"""Writes an image anew, small and plain, for a model that looks at it elsewhere. Runs in the sandbox; it knows no model."""

import base64
import io
from typing import Any

from tracer1.toolbox.inside import answering
from tracer1.toolbox.inside.images import box_of, open_image, within

LARGEST_PNG = 1 << 20  # bytes; what would be larger as a PNG becomes a JPEG


@answering
def encoded(path: str, longest: int, box: Any = None) -> dict[str, Any]:
    """An image as a PNG or JPEG file.

    Args:
        path: The image.
        longest: Pixels of its longer side that are not exceeded.
        box: The part of it that is wanted, `[x1, y1, x2, y2]` in pixels; None is the whole image.

    Returns:
        `data`: the file as base64; `width`, `height`: of what is wanted before it was made smaller, in pixels.
    """
    image = open_image(path)
    if box is not None:
        image = image.crop(within(box_of(box), image.size))
    width, height = image.size
    scale = longest / max(width, height)
    if scale < 1:
        image = image.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    data = _written(image, "PNG")
    if len(data) > LARGEST_PNG:
        data = _written(image, "JPEG")
    return {"data": base64.b64encode(data).decode(), "width": width, "height": height}


def _written(image: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return buffer.getvalue()
