"""PDF files: the text of each page, read from a picture of the page where it has none. It knows nothing of tools."""

import io
import logging
import re
import statistics
from collections.abc import Iterator
from typing import Any

from tracer1.toolbox.inside import Unusable
from tracer1.toolbox.inside.reading import READ_PIXELS, read

MOST_SCANNED = 10  # pages that are read from their picture: each takes four seconds
DOTS = 200  # per inch, of a picture of a page
NOT_READ = f"(A picture, not read: of pages without text the first {MOST_SCANNED} are read.)"
SHORT = 25  # characters: where half of a page's lines are shorter, they are the cells of a table


def pages(data: bytes) -> Iterator[str]:
    """The pages, each under its number where there are several."""
    import pypdf
    from pypdf.errors import DependencyError, FileNotDecryptedError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns about every file that is not quite right
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unusable("refused", "The PDF has a password.")
        count, scanned = len(reader.pages), 0
        for number, page in enumerate(reader.pages):
            text = _written(page)
            if not text and _shows_something(page):
                text = _scanned(data, number) if scanned < MOST_SCANNED else NOT_READ
                scanned += 1
            yield (f"## Page {number + 1}\n\n" if count > 1 else "") + (text or "(no text)") + "\n"
    except (DependencyError, FileNotDecryptedError) as problem:
        raise Unusable("refused", f"The PDF is encrypted in a way that is not read here: {problem}") from problem


def _written(page: Any) -> str:
    """The text of a page in its own order; in its layout where that tells which cell is in which column."""
    text = page.extract_text()
    lines = [len(line.strip()) for line in text.splitlines() if line.strip()]
    if lines and statistics.median(lines) < SHORT:
        text = page.extract_text(extraction_mode="layout")
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip("\n ")


def _shows_something(page: Any) -> bool:
    """Whether a page has anything but text on it: an empty one need not be read."""
    contents = page.get_contents()
    return contents is not None and len(contents.get_data()) > 0


def _scanned(data: bytes, number: int) -> str:
    """The text in the picture of a page."""
    import pypdfium2

    with pypdfium2.PdfDocument(data) as file:
        page = file[number]
        width, height = page.get_size()  # in points, of which an inch has 72
        scale = min(DOTS / 72, (READ_PIXELS / max(1.0, width * height)) ** 0.5)
        picture = page.render(scale=scale).to_pil().convert("RGB")
    return "\n".join(line["text"] for line in read(picture)["lines"])
