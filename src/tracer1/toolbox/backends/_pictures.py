"""Decodes a picture for a model in this process. It knows no model.

What comes here was decoded and written anew inside the sandbox, so this is a small PNG or JPEG; its size is checked all the same.
"""

import io
from typing import Any

from tracer1.toolbox.spec import ToolError

_MOST_PIXELS = 64_000_000


def open_checked(image: bytes) -> Any:
    """A `PIL.Image` in RGB.

    Raises:
        ToolError: It is no PNG or JPEG, does not decode, or is too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise ToolError(
                    "refused", f"The picture has {picture.width} x {picture.height} pixels, which is too many."
                )
            return picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ToolError("failed", f"The picture cannot be decoded ({error!s:.100}).") from error
