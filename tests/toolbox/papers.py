"""Small files of each kind, made by the tests themselves."""

import io
import json
import zipfile
from collections.abc import Mapping

PAGE = """<html><head><title>Prices</title><script>alert(1)</script><style>p {color: red}</style></head><body>
<h1>Fruit</h1><p>Fresh <b>today</b>, see <a href="https://example.org">here</a>.</p>
<table><tr><th>Fruit</th><th>Price</th></tr><tr><td>Apple</td><td>1.20</td></tr></table><ul><li>one</li><li>two</li></ul>
<img src="data:image/png;base64,AAAA"></body></html>"""


def pdf(*pages: str) -> bytes:
    """A PDF whose pages show lines of text."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        lines = "".join(f"({line}) Tj 0 -24 Td " for line in text.splitlines())
        stream = f"BT /F1 14 Tf 72 720 Td {lines}ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects) + 2} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    written, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(written))
        written += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    written += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
    )
    return (written + f"startxref\n{written.index('xref')}\n%%EOF\n").encode()


def scan(*lines: str) -> bytes:
    """A PDF of one page that is a picture."""
    from desks import written

    stream = io.BytesIO()
    written(list(lines)).save(stream, "PDF", resolution=72)
    return stream.getvalue()


def word() -> bytes:
    """A heading, a paragraph with a link, a list, a table with a merged cell, a formula, a comment."""
    import docx
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml import parse_xml

    spaces = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    )
    file = docx.Document()
    file.add_heading("Report", 0)
    file.add_heading("Costs", 2)
    paragraph = file.add_paragraph("See ")
    link = file.part.relate_to("https://example.org/costs", RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    paragraph._p.append(parse_xml(f'<w:hyperlink {spaces} r:id="{link}"><w:r><w:t>the list</w:t></w:r></w:hyperlink>'))
    paragraph._p.append(parse_xml(f"<w:del {spaces}><w:r><w:delText>nothing</w:delText></w:r></w:del>"))
    file.add_paragraph("first", style="List Bullet")
    formula = file.add_paragraph("Hence ")
    formula._p.append(parse_xml(f"<m:oMath {spaces}><m:r><m:t>x=42</m:t></m:r></m:oMath>"))
    table = file.add_table(2, 3)
    for number, text in enumerate(["Item", "Price", "Note", "Milk", "1.49", ""]):
        table.cell(number // 3, number % 3).text = text
    table.cell(1, 1).merge(table.cell(1, 2))
    file.add_comment(file.paragraphs[0].runs[0], "Looks right.")
    return saved(file)


def presentation() -> bytes:
    """A slide with a title, a table, a chart, a grouped text and notes."""
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[5])
    slide.shapes.title.text = "Sales"
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for number, text in enumerate(["Month", "Sold", "May", "7"]):
        table.cell(number // 2, number % 2).text = text
    data = CategoryChartData()
    data.categories = ["north", "south"]
    data.add_series("2024", (3, 4.5))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(4), Inches(4), Inches(2), data)
    slide.shapes.add_group_shape().shapes.add_textbox(
        Inches(1), Inches(7), Inches(2), Inches(1)
    ).text_frame.text = "in a group"
    slide.notes_slide.notes_text_frame.text = "Say thanks."
    return saved(file)


def workbook() -> bytes:
    """Two sheets: numbers with an unsaved formula and a date; one that is hidden."""
    import datetime

    import openpyxl

    file = openpyxl.Workbook()
    sheet = file.active
    sheet.title = "Sales"
    for row in (
        ["Item", "Count", "Day"],
        ["Milk", 2, datetime.datetime(2024, 5, 1)],
        [],
        ["a|b", 1.5, True],
        ["Sum", "=B2+B4"],
    ):
        sheet.append(row)
    hidden = file.create_sheet("Notes")
    hidden.append(["secret"])
    hidden.sheet_state = "hidden"
    return saved(file)


def book() -> bytes:
    """An e-book whose second chapter comes first in reading order."""
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/content.opf"/></rootfiles></container>'
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>Tales</dc:title><dc:creator>A. Writer</dc:creator></metadata><manifest>"
        '<item id="a" href="one%20a.xhtml"/><item id="b" href="two.xhtml"/></manifest>'
        '<spine><itemref idref="b"/><itemref idref="a"/></spine></package>'
    )
    return archive({
        "mimetype": b"application/epub+zip",
        "META-INF/container.xml": container.encode(),
        "OEBPS/content.opf": package.encode(),
        "OEBPS/one a.xhtml": b"<html><body><h2>The end</h2></body></html>",
        "OEBPS/two.xhtml": b"<html><body><h2>The beginning</h2></body></html>",
    })  # fmt: skip


def notebook() -> bytes:
    """A text, and a cell that printed something."""
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": "print(6*7)", "outputs": [{"output_type": "stream", "text": ["42\n"]}]},
    ]
    return json.dumps({"cells": cells, "nbformat": 4}).encode()


def archive(files: Mapping[str, bytes]) -> bytes:
    """A ZIP file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return stream.getvalue()


def saved(file) -> bytes:
    """A document of one of the Office libraries as bytes."""
    stream = io.BytesIO()
    file.save(stream)
    return stream.getvalue()


def saved_pdf(writer) -> bytes:
    """What a `pypdf.PdfWriter` writes."""
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()
