"""Looks at screenshots: their format and whether they decode. It knows nothing about steps, shards or models."""

import io
import struct
import zlib


def image_format(image: bytes) -> str | None:
    """`png` or `jpg` by the first bytes, None for anything else: only these two are stored."""
    if image.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "jpg" if image.startswith(b"\xff\xd8\xff") else None


def check_image(image: bytes) -> tuple[int, int]:
    """Decodes an image to the last pixel.

    Returns:
        Width and height in pixels.

    Raises:
        ValueError: It does not decode; the message says why.
    """
    from PIL import Image

    broken = (OSError, SyntaxError, EOFError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)
    try:
        with Image.open(io.BytesIO(image)) as picture:
            picture.verify()  # checksums
        with Image.open(io.BytesIO(image)) as picture:  # verify() leaves the picture unusable
            picture.load()  # pixels: finds what is cut off
            return picture.size
    except broken as error:
        # Pillow quotes the stream object, whose address would differ from run to run
        reason = "the bytes are no known image" if "cannot identify" in str(error) else str(error)
        raise ValueError(reason or type(error).__name__) from error
