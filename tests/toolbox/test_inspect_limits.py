"""What inspect_file_as_text refuses: bombs, damage, wrong names. After each of them it still reads the next file."""

import io
import zipfile

import papers
import pytest
from desks import Bench

from tracer1.toolbox.inside import _archives

LAUGHS = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>'


@pytest.fixture
def bench(tmp_path) -> Bench:
    (tmp_path / "good.txt").write_text("good")
    return Bench(tmp_path, ["inspect_file_as_text"])


@pytest.fixture
def refusal(bench):
    """Writes a file that must not be read, and gives kind and message."""

    def refused(name: str, content: bytes | str) -> tuple[str, str]:
        (bench.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        result = bench.refusal("inspect_file_as_text", file_path=name)
        assert bench.value("inspect_file_as_text", file_path="good.txt") == "good"
        return result

    return refused


def with_part(document: bytes, part: str, content: bytes) -> bytes:
    """An Office file with one part replaced."""
    with zipfile.ZipFile(io.BytesIO(document)) as file:
        files = {name: file.read(name) for name in file.namelist()}
    return papers.archive({**files, part: content})


def test_a_zip_bomb_is_told_by_its_directory(refusal):
    kind, message = refusal("a.zip", papers.archive({f"{n}.txt": bytes(40 << 20) for n in range(3)}))
    assert (kind, "bomb" in message) == ("refused", True)


def test_a_single_tightly_packed_file_is_a_bomb(refusal):
    assert "bomb" in refusal("a.zip", papers.archive({"zeros.txt": bytes(20 << 20)}))[1]


def test_a_bomb_in_an_archive_is_a_bomb(refusal):
    inner = papers.archive({"zeros.txt": bytes(20 << 20)})
    assert "bomb" in refusal("a.zip", papers.archive({"inner.zip": inner}))[1]


def test_archives_are_opened_two_deep(bench):
    content = b"deep"
    for depth in range(4):
        content = papers.archive({f"{depth}.{'zip' if depth else 'txt'}": content})
    (bench.folder / "a.zip").write_bytes(content)
    text = bench.value("inspect_file_as_text", file_path="a.zip")
    assert "not opened" in text
    assert "deep" not in text


def test_too_many_files_are_a_bomb(refusal):
    assert "bomb" in refusal("a.zip", papers.archive({f"{n}": b"" for n in range(_archives.MOST_MEMBERS + 1)}))[1]


def test_a_directory_that_lies_about_a_size_does_not_unpack_more(refusal):
    content = bytearray(papers.archive({"a.txt": bytes(3 << 20) + b"end"}))
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (1000).to_bytes(4, "little")  # the stated size
    result = refusal("b.docx", bytes(content))
    assert result[0] == "failed"


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx", "a.pptx"])
def test_an_office_file_that_unpacks_to_a_bomb(refusal, name):
    document = {"a.docx": papers.word, "a.xlsx": papers.workbook, "a.pptx": papers.presentation}[name]()
    assert "bomb" in refusal(name, with_part(document, "extra.xml", bytes(50 << 20)))[1]


@pytest.mark.parametrize(
    ("name", "make", "part"),
    [
        ("a.docx", papers.word, "word/document.xml"), ("a.xlsx", papers.workbook, "xl/worksheets/sheet1.xml"),
        ("a.pptx", papers.presentation, "ppt/presentation.xml"), ("a.epub", papers.book, "META-INF/container.xml"),
    ],
)  # fmt: skip
def test_entities_that_unfold_are_refused(refusal, name, make, part):
    kind, message = refusal(name, with_part(make(), part, LAUGHS.encode()))
    assert (kind, "entities" in message) == ("refused", True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_so_are_those_of_an_xml_file(refusal, encoding):
    assert refusal("a.xml", LAUGHS.encode(encoding))[0] == "refused"


def test_a_sheet_that_claims_a_million_rows_is_read_to_where_it_is_empty(bench):
    import openpyxl

    file = openpyxl.Workbook()
    file.active["A1"] = "top"
    file.active["XFD1048576"] = "bottom"
    (bench.folder / "a.xlsx").write_bytes(papers.saved(file))
    assert "top" in bench.value("inspect_file_as_text", file_path="a.xlsx")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.docx", papers.word), ("a.xlsx", papers.workbook), ("a.pptx", papers.presentation), ("a.epub", papers.book),
        ("a.zip", lambda: papers.archive({"b.txt": b"inner" * 100})), ("a.ipynb", papers.notebook),
        ("a.pdf", lambda: papers.pdf("A page with a line of text that is long enough")),
    ],
)  # fmt: skip
def test_a_file_that_was_cut_off_is_damaged(refusal, name, make):
    content = make()
    kind, message = refusal(name, content[: len(content) // 2])
    assert (kind, name in message) == ("failed", True)
    assert "damaged or cut off" in message or "not" in message


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx", "a.pptx", "a.pdf", "a.zip", "a.epub"])
def test_an_empty_file_is_told(refusal, name):
    assert refusal(name, b"") == ("failed", f"'{name}' is empty.")


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.pdf", papers.word, "it is a Word document"),
        ("a.docx", lambda: papers.pdf("x"), "it is a PDF"),
        ("a.xlsx", papers.word, "it is a Word document"),
        ("a.docx", papers.workbook, "it is an Excel workbook"),
        ("a.docx", lambda: b"only text", "it is text"),
        ("a.docx", lambda: b"\xd0\xcf\x11\xe0" + bytes(99), "it is an old Office file (or one with a password)"),
        ("a.csv", papers.workbook, "it is an Excel workbook"),
        ("a.zip", lambda: b"\0\1\2", "it is not text"),
    ],
)
def test_a_wrong_suffix_is_told_with_what_the_file_is(refusal, name, make, said):
    kind, message = refusal(name, make())
    assert (kind, said in message) == ("failed", True), message


def test_without_a_suffix_the_content_decides(bench):
    (bench.folder / "report").write_bytes(papers.word())
    assert bench.value("inspect_file_as_text", file_path="report").startswith("# Report")


@pytest.mark.parametrize(
    ("name", "content", "kind", "said"),
    [
        ("a.png", b"\x89PNG\r\n", "refused", "use the tool ocr"),
        ("a.JPG", b"\xff\xd8\xff", "refused", "use the tool ocr"),
        ("a.txt", b"\x89PNG\r\n\x1a\n" + bytes(50), "refused", "use the tool ocr"),
        ("a.mp3", b"ID3" + bytes(50), "unavailable", "no backend that listens"),
        ("a.mp4", bytes(50), "unavailable", "no backend that listens"),
        ("a.bin", bytes(range(256)), "refused", "nothing that is read here"),
        ("a.txt", bytes(range(256)), "refused", "is not text"),
    ],
)
def test_what_is_not_read_names_what_to_do(refusal, name, content, kind, said):
    got, message = refusal(name, content)
    assert (got, said in message) == (kind, True), message


def test_a_pdf_with_a_password_is_refused(refusal):
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    kind, message = refusal("a.pdf", papers.saved_pdf(writer))
    assert (kind, "password" in message) == ("refused", True)


def test_a_file_that_is_too_large_is_not_read(refusal, monkeypatch):
    monkeypatch.setattr("tracer1.toolbox.inside.documents.MOST_BYTES", 1 << 20)
    assert refusal("a.txt", bytes((1 << 20) + 1))[0] == "refused"


def test_a_file_outside_of_the_workspace_is_refused(bench):
    assert bench.refusal("inspect_file_as_text", file_path="../../etc/passwd")[0] == "refused"
    assert bench.refusal("inspect_file_as_text", file_path="absent.txt")[0] == "no_file"
