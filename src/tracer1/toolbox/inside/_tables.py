"""Tables: Excel workbooks, and text with separators. It knows nothing of tools or of where the file comes from."""

import csv
import datetime
import io
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

from tracer1.toolbox.inside import Unusable, _archives, _markup

MOST_EMPTY = 100  # rows without anything, one after the other, that end a sheet: some claim a million of them


def workbook(data: bytes) -> Iterator[str]:
    """Each sheet of an .xlsx file as a table; a formula whose value was never saved is shown itself."""
    import openpyxl

    file = _archives.office(data)
    values = openpyxl.load_workbook(file, read_only=True, data_only=True)
    formulas = openpyxl.load_workbook(io.BytesIO(data), read_only=True)
    for sheet, same in zip(values.worksheets, formulas.worksheets, strict=True):
        sheet.reset_dimensions()
        same.reset_dimensions()
        hidden = "" if sheet.sheet_state == "visible" else f" ({sheet.sheet_state})"
        yield f"## {sheet.title}{hidden}\n"
        pairs = zip_longest(sheet.iter_rows(values_only=True), same.iter_rows(values_only=True), fillvalue=())
        yield from _sheet(
            [value if value is not None else formula for value, formula in _cells(*pair)] for pair in pairs
        )
        yield ""


def old_workbook(data: bytes) -> Iterator[str]:
    """Each sheet of an .xls file; it takes a library that tracer1 does not ask for."""
    try:
        import xlrd
    except ImportError as missing:
        raise Unusable(
            "unavailable",
            "An .xls file is read with xlrd, which is not installed: pip install xlrd. Or save it as .xlsx.",
        ) from missing
    for sheet in xlrd.open_workbook(file_contents=data).sheets():
        yield f"## {sheet.name}\n"
        yield from _sheet(sheet.row_values(number) for number in range(sheet.nrows))
        yield ""


def separated(data: bytes) -> Iterator[str]:
    """A .csv or .tsv file as a table."""
    text = str(_markup.decoded(data))
    try:
        separator = csv.Sniffer().sniff(text[:4096], delimiters=",;\t|").delimiter
    except csv.Error:
        separator = "\t" if text[:4096].count("\t") > text[:4096].count(",") else ","
    csv.field_size_limit(1 << 20)
    yield from _sheet(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def shown(value: Any) -> str:
    """A cell as a reader writes it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
    return str(value)


def _cells(values: tuple[Any, ...], formulas: tuple[Any, ...]) -> Iterable[tuple[Any, Any]]:
    return zip_longest(values, formulas)


def _sheet(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Rows as a Markdown table, without what is empty below and to the right; line by line, so that reading may stop."""
    empty: list[str] = []
    width = 0
    for row in rows:
        cells = [shown(value) for value in row]
        while cells and not cells[-1].strip():
            cells.pop()
        if not cells:
            empty.append("|")
            if len(empty) > MOST_EMPTY:
                return
            continue
        lines = list(_markup.table([cells]))
        if width:
            yield from empty
            yield lines[0]
        else:
            yield from lines
        width, empty = max(width, len(cells)), []
