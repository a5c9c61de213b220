"""Word documents and PowerPoint presentations. It knows nothing of tools or of where the file comes from."""

import re
from collections.abc import Iterator
from typing import Any

from tracer1.toolbox.inside import _archives
from tracer1.toolbox.inside._markup import table
from tracer1.toolbox.inside._tables import shown

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # the same again, for old programs
GONE = {FALLBACK, f"{WORD}delText", f"{WORD}del", f"{WORD}instrText"}


def document(data: bytes) -> Iterator[str]:
    """A .docx file: headings, paragraphs, lists, tables, text boxes, formulas and comments, in their order."""
    import docx
    from docx.table import Table

    file = docx.Document(_archives.office(data))
    for block in file.iter_inner_content():
        if isinstance(block, Table):
            yield ""
            yield from table([[_inner(cell) for cell in _once(row.cells)] for row in block.rows])
            yield ""
        else:
            text = _text(block._p, block.part)
            if text.strip():
                yield _marked(block.style.name if block.style else "", block, text.strip()) + "\n"
    comments = [_text(paragraph._p, paragraph.part) for note in file.comments for paragraph in note.paragraphs]
    if any(comments):
        yield "## Comments\n"
        yield from (f"- {comment}" for comment in comments if comment)


def slides(data: bytes) -> Iterator[str]:
    """A .pptx file: the text, tables, charts, names of pictures and notes of each slide."""
    import pptx

    for number, slide in enumerate(pptx.Presentation(_archives.office(data)).slides, 1):
        yield f"\n## Slide {number}\n"
        title = slide.shapes.title
        for shape in _in_order(slide.shapes):
            yield from _shape(shape, title is not None and shape.shape_id == title.shape_id)
        if (
            slide.has_notes_slide
            and slide.notes_slide.notes_text_frame
            and slide.notes_slide.notes_text_frame.text.strip()
        ):
            yield f"\nNotes: {slide.notes_slide.notes_text_frame.text.strip()}"


def _text(element: Any, part: Any) -> str:
    """What a reader sees of an element: links as Markdown, formulas as their characters, nothing that was deleted."""
    pieces = []
    for child in element:
        tag = child.tag
        if tag in GONE or not isinstance(tag, str):
            continue
        if tag in (f"{WORD}t", f"{MATH}t"):
            pieces.append(child.text or "")
        elif tag == f"{WORD}tab":
            pieces.append("\t")
        elif tag in (f"{WORD}br", f"{WORD}cr"):
            pieces.append("\n")
        elif tag == f"{DRAWING}docPr":
            pieces.append(f"(picture: {' '.join(filter(None, (child.get('name'), child.get('descr'))))})")
        elif tag == f"{WORD}hyperlink" and child.get(LINK) in part.rels:
            pieces.append(f"[{_text(child, part)}]({part.rels[child.get(LINK)].target_ref})")
        else:
            inner = _text(child, part)
            pieces.append(f"{inner}\n" if tag == f"{WORD}p" and inner else inner)  # a paragraph in a text box
    return "".join(pieces)


def _inner(cell: Any) -> str:
    """The text of a table's cell; tables in it are read through."""
    return " ".join(_text(cell._tc, cell.part).split())


def _once(cells: Any) -> Iterator[Any]:
    """The cells of a row; merged ones are handed out for every column that they span."""
    seen: list[Any] = []
    for cell in cells:
        if not any(cell._tc is other for other in seen):
            seen.append(cell._tc)
            yield cell


def _marked(style: str, paragraph: Any, text: str) -> str:
    """A paragraph with the sign of its style."""
    heading = re.fullmatch(r"Heading (\d)", style)
    if heading:
        return f"{'#' * min(6, int(heading.group(1)))} {text}"
    if style in ("Title", "Subtitle"):
        return f"# {text}"
    listed = style.startswith("List") or paragraph._p.find(f"{WORD}pPr/{WORD}numPr") is not None
    return f"- {text}" if listed else text


def _in_order(shapes: Any) -> list[Any]:
    """Shapes from top to bottom, then from left to right."""
    return sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0))


def _shape(shape: Any, is_title: bool) -> Iterator[str]:
    """What one shape says; a group is read through."""
    from pptx.enum.shapes import MSO_SHAPE_TYPE

    if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
        for inner in _in_order(shape.shapes):
            yield from _shape(inner, False)
    elif shape.has_table:
        yield from table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif shape.has_chart:
        yield from _chart(shape.chart)
    elif shape.has_text_frame and shape.text_frame.text.strip():
        text = shape.text_frame.text.strip().replace("\v", "\n")
        yield f"# {text}" if is_title else text
    elif shape.shape_type == MSO_SHAPE_TYPE.PICTURE:
        described = shape._element.nvPicPr.cNvPr.get("descr") or ""
        yield f"(picture: {' '.join(f'{shape.name} {described}'.split())})"


def _chart(chart: Any) -> Iterator[str]:
    """A chart's title and data."""
    title = chart.chart_title.text_frame.text if chart.has_title and chart.chart_title.has_text_frame else ""
    yield f"Chart: {title}" if title else "Chart:"
    plot = chart.plots[0]
    series = list(plot.series)
    rows = [["", *(one.name for one in series)]]
    for number, category in enumerate(plot.categories):
        rows.append([str(category), *(shown(one.values[number]) if number < len(one.values) else "" for one in series)])
    yield from table(rows)
