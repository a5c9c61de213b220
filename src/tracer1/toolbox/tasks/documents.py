"""Small documents as bytes, the same in every run: tables (CSV, Excel, JSON), notes (text, Word). It knows no task."""

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

Rows = Sequence[Sequence[object]]  # the first row holds the columns' names

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def csv_table(rows: Rows) -> bytes:
    """Comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def json_table(rows: Rows) -> bytes:
    """An object: the first column's value -> the second's."""
    return (json.dumps({row[0]: row[1] for row in rows[1:]}) + "\n").encode()


def excel_table(rows: Rows) -> bytes:
    """An Excel workbook with one sheet."""
    from openpyxl import Workbook

    book = Workbook()
    for row in rows:
        book.active.append(list(row))
    stream = io.BytesIO()
    book.save(stream)
    with zipfile.ZipFile(stream) as written:  # it holds the time of day, in its members' dates and in docProps/core.xml
        members = {name: written.read(name) for name in sorted(written.namelist()) if name != "docProps/core.xml"}
    for index in ("[Content_Types].xml", "_rels/.rels"):
        members[index] = _without(members[index], b"docProps/core.xml")
    return _zipped(members)


def text_note(lines: Sequence[str]) -> bytes:
    """Plain text."""
    return ("\n".join(lines) + "\n").encode()


def word_note(lines: Sequence[str]) -> bytes:
    """A Word document with a paragraph for each line: the least that one is made of."""
    body = "".join(f"<w:p><w:r><w:t>{escape(line)}</w:t></w:r></w:p>" for line in lines)
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    relation = f'<Relationship Id="rId1" Type="{_OFFICE}" Target="word/document.xml"/>'
    types = (
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{kind}"/>'
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{relation}</Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
    }
    return _zipped({name: (_HEAD + text).encode() for name, text in parts.items()})


def _without(xml: bytes, target: bytes) -> bytes:
    """The XML without the one element that names `target`."""
    at = xml.index(target)
    return xml[: xml.rindex(b"<", 0, at)] + xml[xml.index(b"/>", at) + 2 :]


def _zipped(members: dict[str, bytes]) -> bytes:
    """A zip archive without any date."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, compresslevel=9)
    return stream.getvalue()
