"""Writes a page for people: whole or not at all. It knows nothing of what is on it."""

from pathlib import Path

from tracer1.data.shard_writer import finished_file
from tracer1.errors import DataError


def write_page(text: str, out: Path) -> int:
    """Writes a page and the folders above it.

    Args:
        text: The whole page.
        out: The file; an older one stays until this one is whole.

    Returns:
        Its size in bytes.

    Raises:
        DataError: no space left, or the file cannot be written.
    """
    content = text.encode("utf-8", errors="replace")  # half a surrogate pair is no UTF-8
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with finished_file(out) as stream:
            stream.write(content)
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}). Choose another --out.") from error
    return len(content)
