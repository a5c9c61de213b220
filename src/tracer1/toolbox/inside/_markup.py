"""Text and what is written as text: plain, HTML, XML, notebooks, e-books. It knows nothing of archives' limits or of tools."""

import io
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from tracer1.toolbox.inside import Unusable, _archives

LONGEST_DATA = 200  # characters of a `data:` address that are kept
CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
PACKAGE, DUBLIN = "{http://www.idpf.org/2007/opf}", "{http://purl.org/dc/elements/1.1/}"


def decoded(data: bytes, strict: bool = True) -> str | None:
    """Bytes as text, in the encoding that they are most likely in.

    Returns:
        The text; None where they are no text and `strict` is off. Raises Unusable where it is on.
    """
    for encoding in ("utf-8-sig", "utf-16") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            text = data.decode(encoding) if strict else _lenient(data, encoding)
            if "\0" not in text:
                return text
        except UnicodeDecodeError:
            continue
    from charset_normalizer import from_bytes

    best = None if b"\0" in data else from_bytes(data).best()
    if best is None and strict:
        raise Unusable("failed", "The file is no text in any known encoding.")
    return None if best is None else str(best)


def _lenient(data: bytes, encoding: str) -> str:
    """Decoded although its last character may be cut off."""
    for short in range(4):
        try:
            return data[: len(data) - short].decode(encoding)
        except UnicodeDecodeError:
            if short == 3:
                raise
    raise AssertionError


def plain(data: bytes) -> Iterator[str]:
    """Text as it is."""
    yield str(decoded(data))


def xml(data: bytes) -> Iterator[str]:
    """XML as it is, but for a file that declares entities: its text is not what it seems."""
    _without_entities(data)
    yield str(decoded(data))


def page(data: bytes) -> Iterator[str]:
    """HTML as Markdown; the title first."""
    yield from _page(data.decode("utf-8", "replace") if b"\0" not in data and _is_utf8(data) else data)


def _page(written: str | bytes) -> Iterator[str]:
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(written, "html.parser")
    if soup.title and soup.title.get_text(strip=True):
        yield f"# {soup.title.get_text(' ', strip=True)}\n"
    for gone in soup(["script", "style", "noscript", "template", "head"]):
        gone.decompose()
    for image in soup("img"):
        if str(image.get("src", "")).startswith("data:"):
            image["src"] = "data:"
    try:
        text = MarkdownConverter(heading_style="ATX", bullets="-").convert_soup(soup.body or soup)
    except RecursionError:  # elements nested a thousand deep
        text = soup.get_text("\n", strip=True)
    yield re.sub(r"\n{3,}", "\n\n", text).strip()


def notebook(data: bytes) -> Iterator[str]:
    """The cells of a Jupyter notebook, and the text that they printed."""
    cells: list[dict[str, Any]] = json.loads(str(decoded(data)))["cells"]
    for cell in cells:
        source = _joined(cell.get("source", ""))
        yield f"```python\n{source}\n```\n" if cell.get("cell_type") == "code" else f"{source}\n"
        for output in cell.get("outputs", []):
            printed = _joined(output.get("text") or output.get("data", {}).get("text/plain", ""))
            if printed:
                yield f"Output:\n```\n{printed.rstrip()}\n```\n"


def book(data: bytes) -> Iterator[str]:
    """An e-book: title, authors, then its chapters in reading order."""
    with _archives.opened(data) as archive:
        container = _parsed(archive.read("META-INF/container.xml"))
        package = str(next(container.iter(f"{CONTAINER}rootfile")).get("full-path"))
        about = _parsed(archive.read(package))
        for name in ("title", "creator", "language", "description"):
            yield from (f"**{name.capitalize()}:** {item.text}" for item in about.iter(f"{DUBLIN}{name}") if item.text)
        files = {item.get("id"): str(item.get("href")) for item in about.iter(f"{PACKAGE}item")}
        for reference in about.iter(f"{PACKAGE}itemref"):
            place = posixpath.join(posixpath.dirname(package), unquote(files[reference.get("idref")]))
            yield "\n" + "\n".join(page(archive.read(posixpath.normpath(place))))


def table(rows: list[list[str]]) -> Iterator[str]:
    """Rows as a Markdown table whose first row is the head."""
    width = max((len(row) for row in rows), default=0)
    for number, row in enumerate(rows):
        cells = [re.sub(r"\s+", " ", cell).strip().replace("|", "\\|") for cell in row]
        yield "| " + " | ".join(cells + [""] * (width - len(cells))) + " |"
        if number == 0:
            yield "| " + " | ".join(["---"] * width) + " |"


def _parsed(data: bytes) -> ElementTree.Element:
    _without_entities(data)
    return ElementTree.parse(io.BytesIO(data)).getroot()


def _without_entities(data: bytes) -> None:
    if b"<!ENTITY" in data.replace(b"\0", b"").upper():
        raise Unusable(
            "refused", "The file declares XML entities, which may unfold into gigabytes (a bomb); it is not read."
        )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
