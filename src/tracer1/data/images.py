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
        if image_format(image) == "png":
            _check_checksums(image)
        with Image.open(io.BytesIO(image)) as picture:
            picture.load()  # pixels: finds what is cut off
            return picture.size
    except broken as error:
        # Pillow quotes the stream object, whose address would differ from run to run
        reason = "the bytes are no known image" if "cannot identify" in str(error) else str(error)
        raise ValueError(reason or type(error).__name__) from error


def _check_checksums(png: bytes) -> None:
    """Compares each chunk with its checksum, which decoding does not; what Pillow's `verify` does, without opening it once more.

    Raises:
        ValueError: A chunk differs, or the picture ends within one.
    """
    place, view = 8, memoryview(png)
    while place < len(png):
        if len(png) < place + 12:
            raise ValueError("the PNG is cut off")
        size = int.from_bytes(view[place : place + 4], "big")
        name, end = bytes(view[place + 4 : place + 8]), place + 8 + size
        if len(png) < end + 4:
            raise ValueError("the PNG is cut off")
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"bad checksum of {name!r} in the PNG")
        if name == b"IEND":
            return
        place = end + 4
    raise ValueError("the PNG has no end")
