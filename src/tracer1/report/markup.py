"""Pieces of HTML: escaped text, tables, badges, pictures, links. It knows nothing of what stands in them.

Whatever comes from a file goes through `text` (or is a cell's `Html`, which only this package makes).
"""

import base64
import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from tracer1.errors import DataError

MOST_TEXT = 2000  # characters of a field
WIDE = 420  # pixels of a picture's longer side: several stand in a row


class Html(str):
    """Text that is HTML already."""


Cell = str | Html | float | int | None


def text(value: object, most: int = MOST_TEXT) -> Html:
    """Escaped, without characters that HTML forbids, and cut where it is endless."""
    said = "" if value is None else str(value)
    said = said if len(said) <= most else f"{said[:most]} … ({len(said):,} characters)"
    return Html(escape("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in said)))


def badge(said: str, kind: str = "") -> Html:
    """A small frame: `ours`, `published`, `good`, `bad`."""
    return Html(f'<span class="badge {kind}">{text(said)}</span>')


def table(heads: Sequence[Cell], rows: Sequence[Sequence[Cell]], numbers: bool = True, kind: str = "") -> Html:
    """A table in a frame that scrolls by itself when the page is narrow.

    Args:
        heads: The first row; none where it is empty.
        rows: Cells; what is no `Html` is escaped.
        numbers: All columns but the first hold numbers, which are set flush right.
        kind: A class.
    """
    if not rows:
        return Html("")
    side = ["" if not numbers or not column else ' class="number"' for column in range(len(rows[0]))]
    head = "".join(f"<th{place}>{_cell(cell)}</th>" for cell, place in zip(heads, side, strict=False))
    body = "".join(
        f"<tr>{''.join(f'<td{place}>{_cell(cell)}</td>' for cell, place in zip(row, side, strict=True))}</tr>"
        for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return Html(f'<div class="wide"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>')


def _cell(cell: Cell) -> str:
    return cell if isinstance(cell, Html) else text(cell)


def details(summary: str, content: str, opened: bool = False) -> Html:
    """Something that opens on a click."""
    return Html(f"<details{' open' * opened}><summary>{text(summary)}</summary>{content}</details>")


def bullets(lines: Sequence[str]) -> Html:
    """A list of texts; nothing where there are none."""
    return Html(f"<ul>{''.join(f'<li>{_cell(line)}</li>' for line in lines)}</ul>" if lines else "")


def link(target: Path, page: Path, said: str) -> Html:
    """A link to a file, relative to the page, so that both can be moved together; the text alone where there is no such file."""
    if not target.exists():
        return text(said)
    address = quote(os.path.relpath(target.absolute(), page.absolute().parent), errors="surrogateescape")
    return Html(f'<a href="{escape(address)}">{text(said)}</a>')


def picture(content: bytes, alt: str) -> Html:
    """A picture inside the page, scaled down to `WIDE`.

    Raises:
        DataError: it is none.
    """
    try:
        image = Image.open(io.BytesIO(content)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"not a picture ({error})") from error
    image.thumbnail((WIDE, WIDE))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=80, method=4)
    data = base64.b64encode(out.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    return Html(f'<img alt="{text(alt, 200)}" {size} src="data:image/webp;base64,{data}">')


def no_picture(why: str) -> Html:
    """In its place."""
    return Html(f'<p class="none">{text(why)}</p>')
