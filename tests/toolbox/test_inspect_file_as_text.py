import io
import re

import papers
import pytest
from desks import Bench, need_data, need_tesseract

from tracer1.toolbox.backends import Backends


class Echo:
    """A language model that answers with what it was asked."""

    identity = "echo"

    def ask(self, prompt: str) -> str:
        return f"asked: {prompt}"


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, ["inspect_file_as_text"])


@pytest.fixture
def text(bench):
    """Writes a file, and gives what the tool reads in it."""

    def read(name: str, content: bytes | str) -> str:
        (bench.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return bench.value("inspect_file_as_text", file_path=name)

    return read


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.py", "a.jsonl", "a.json", "a.log", "a.pdb", "noname"])
def test_text_is_given_as_it_is(text, name):
    assert text(name, '{"a": 1}\n  indented\n') == '{"a": 1}\n  indented'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_in_other_encodings(text, encoding):
    written = "Über die Größe der Straße: schön, daß es geht. Viele Grüße aus Köln."
    assert text("a.txt", written.encode(encoding)) == written


def test_a_japanese_table_in_its_own_encoding(text):
    assert "| 佐藤太郎 | 30 | 東京 |" in text(
        "a.csv", "名前,年齢,住所\n佐藤太郎,30,東京\n三木英子,25,大阪\n".encode("cp932")
    )


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", 'x,y\n1,"a, b"\n'), ("a.tsv", "x\ty\n1\ta, b\n"), ("a.csv", "x;y\n1;a, b\n")]
)
def test_separated_values_are_a_table(text, name, content):
    assert text(name, content) == "| x | y |\n| --- | --- |\n| 1 | a, b |"


def test_html_is_markdown_without_scripts(text):
    read = text("a.html", papers.PAGE)
    for piece in (
        "# Prices",
        "# Fruit",
        "Fresh **today**, see [here](https://example.org).",
        "| Apple | 1.20 |",
        "- one",
    ):
        assert piece in read
    assert "alert" not in read
    assert "color" not in read
    assert "AAAA" not in read


def test_html_nested_a_thousand_deep_is_still_read(text):
    assert "inmost" in text("a.html", "<div>" * 5_000 + "inmost")


def test_a_pdf_page_by_page(text):
    read = text(
        "a.pdf", papers.pdf("The first page says hello to everybody who reads", "The second page says farewell to them")
    )
    assert read.split("\n\n") == [
        "## Page 1", "The first page says hello to everybody who reads", "## Page 2", "The second page says farewell to them",
    ]  # fmt: skip


def test_a_scanned_pdf_is_read_from_its_picture(text):
    need_tesseract()
    assert text("a.pdf", papers.scan("Invoice 2024", "Total 19.44")) == "Invoice 2024\nTotal 19.44"


def test_of_many_scanned_pages_the_first_are_read_and_the_others_named(text, monkeypatch):
    import pypdf

    monkeypatch.setattr("tracer1.toolbox.inside._pdf._scanned", lambda data, number: f"read {number}")
    writer = pypdf.PdfWriter()
    for _ in range(12):
        writer.append(io.BytesIO(papers.scan("page")))
    read = text("a.pdf", papers.saved_pdf(writer))
    assert [f"read {number}\n" in read for number in range(11)] == [True] * 10 + [False]
    assert read.count("not read: of pages without text the first 10 are read") == 2


def test_an_empty_page_is_not_read_at_length(text, monkeypatch):
    monkeypatch.setattr("tracer1.toolbox.inside._pdf._scanned", lambda data, number: 1 / 0)
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    assert text("a.pdf", papers.saved_pdf(writer)) == "(no text)"


def test_a_word_document(text):
    read = text("a.docx", papers.word())
    assert read.startswith(
        "# Report\n\n## Costs\n\nSee [the list](https://example.org/costs)\n\n- first\n\nHence x=42\n"
    )
    assert "| Item | Price | Note |\n| --- | --- | --- |\n| Milk | 1.49 |" in read
    assert read.endswith("## Comments\n\n- Looks right.")
    assert "nothing" not in read


def test_a_presentation(text):
    read = text("a.pptx", papers.presentation())
    for piece in (
        "## Slide 1\n\n# Sales",
        "| May | 7 |",
        "|  | 2024 |",
        "| south | 4.5 |",
        "in a group",
        "Notes: Say thanks.",
    ):
        assert piece in read


def test_a_workbook_shows_formulas_that_have_no_value_yet(text):
    assert text("a.xlsx", papers.workbook()) == (
        "## Sales\n\n| Item | Count | Day |\n| --- | --- | --- |\n| Milk | 2 | 2024-05-01 |\n|\n"
        "| a\\|b | 1.5 | TRUE |\n| Sum | =B2+B4 |\n\n## Notes (hidden)\n\n| secret |\n| --- |"
    )


def test_an_old_workbook_is_read_or_told_what_reads_it(bench):
    (bench.folder / "a.xls").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    kind, message = bench.refusal("inspect_file_as_text", file_path="a.xls")
    assert (kind, "xlrd" in message) in [("unavailable", True), ("failed", False)]


def test_an_e_book_in_reading_order(text):
    read = text("a.epub", papers.book())
    assert read.startswith("**Title:** Tales\n**Creator:** A. Writer")
    assert read.index("The beginning") < read.index("The end")


def test_a_notebook_with_what_it_printed(text):
    assert text("a.ipynb", papers.notebook()) == "# Title\ntext\n\n```python\nprint(6*7)\n```\n\nOutput:\n```\n42\n```"


def test_an_archive_lists_its_files_and_their_text(text):
    read = text(
        "a.zip",
        papers.archive({"b/c.txt": b"inner", "d.xlsx": papers.workbook(), "e.png": b"\x89PNG...", "f.bin": b"\0\1"}),
    )
    assert read.startswith("4 files:\n- b/c.txt (5 bytes)")
    for piece in ("## b/c.txt\n\ninner", "| Milk | 2 | 2024-05-01 |", "('e.png' is an image", "('f.bin' is not text"):
        assert piece in read


def test_long_text_is_cut_and_says_so(text):
    read = text("a.txt", "x" * 100_000)
    assert read.startswith("x" * 70_000 + "\n\n(Cut here:")
    assert "70,000 characters" in read[-100:]
    assert text("b.txt", "x" * 70_000) == "x" * 70_000


def test_an_empty_file_says_so(text):
    assert text("a.txt", "") == "(The file holds no text.)"


def test_a_question_goes_to_the_language_model(tmp_path):
    (tmp_path / "a.txt").write_text("The code is 4711.")
    bench = Bench(tmp_path, ["inspect_file_as_text"], Backends(language=Echo()))
    answer = bench.value("inspect_file_as_text", file_path="a.txt", question="What is the code?")
    assert "Question: What is the code?" in answer
    assert "The code is 4711." in answer
    assert answer.count("\n### ") == 3
    assert bench.value("inspect_file_as_text", file_path="a.txt", question=" ") == "The code is 4711."


def test_a_question_without_a_model_is_unavailable(bench):
    (bench.folder / "a.txt").write_text("The code is 4711.")
    assert bench.refusal("inspect_file_as_text", file_path="a.txt", question="What?")[0] == "unavailable"


@pytest.mark.parametrize(
    "name",
    [
        "RECEIPT-2024-TXN-98765_retail_purchase", "REPAIR-2022-INV-001_multipage", "SPARSE-2024-INV-1234_borderless_table",
        "movie-theater-booking-2024", "test",
    ],
)  # fmt: skip
def test_every_word_of_real_pdfs_is_there(text, name):
    folder = need_data("office_files")
    read = text("a.pdf", (folder / f"{name}.pdf").read_bytes())
    words = set(re.findall(r"\w{2,}", (folder / f"expected_{name}.md").read_text().lower()))
    assert words - set(re.findall(r"\w{2,}", read.lower())) == set()


def test_the_cells_of_a_borderless_table_stay_in_their_columns(text):
    read = text("a.pdf", need_data("office_files", "SPARSE-2024-INV-1234_borderless_table.pdf").read_bytes())
    row = next(line for line in read.splitlines() if "SKU-4563" in line)
    head = next(line for line in read.splitlines() if line.startswith("Product Code"))
    assert [row.index("156"), row.index("CRITICAL")] == [head.index("Actual"), head.index("Status")]


def test_all_real_files_are_read_or_refused_for_a_reason(bench):
    need_tesseract()
    refused = {}
    for source in sorted(need_data("office_files").iterdir()):
        if source.name.startswith(("expected_", "LICENSE", "SOURCE")) or source.stem.startswith("MEDRPT"):
            continue
        (bench.folder / source.name).write_bytes(source.read_bytes())
        result = bench.call("inspect_file_as_text", file_path=source.name)
        if not result.ok:
            refused[source.name] = result.kind
    assert refused == {
        "random.bin": "refused", "test.xls": "unavailable", "test_llm.jpg": "refused", "test_outlook_msg.msg": "refused",
    }  # fmt: skip
