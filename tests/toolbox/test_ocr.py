import re

import pytest
from desks import Bench, need_data, need_tesseract, written
from PIL import Image, ImageOps

from tracer1.toolbox.inside import reading


@pytest.fixture
def bench(tmp_path) -> Bench:
    need_tesseract()
    return Bench(tmp_path, ["ocr"])


def prices(lines: list[str]) -> list[str]:
    return re.findall(r"\d+\.\d\d\b", "\n".join(lines))


def test_reads_the_lines_in_order(bench):
    written(["Fresh milk 1.49", "Bananas 0.89", "TOTAL 2.38"]).save(bench.folder / "a.png")
    assert bench.value("ocr", image_path="a.png") == ["Fresh milk 1.49", "Bananas 0.89", "TOTAL 2.38"]


def test_boxes_are_in_pixels_of_the_image_whatever_it_was_scaled_to(bench):
    image = written(["Corner"], size=24, width=400)
    image.save(bench.folder / "a.png")
    image.resize((image.width * 8, image.height * 8)).save(
        bench.folder / "b.png"
    )  # more than READ_PIXELS when enlarged
    small, large = (reading.lines(str(bench.folder / name))["value"]["lines"] for name in ("a.png", "b.png"))
    assert small[0]["text"] == large[0]["text"] == "Corner"
    (x1, y1, x2, y2), ink = small[0]["box"], ImageOps.invert(image.convert("L")).getbbox()
    assert max(abs(a - b) for a, b in zip((x1, y1, x2, y2), ink, strict=True)) <= 3
    assert max(abs(8 * a - b) for a, b in zip(small[0]["box"], large[0]["box"], strict=True)) <= 24


def test_a_picture_taken_sideways_is_read_upright(bench):
    image = written(["Sideways 12"]).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(bench.folder / "a.jpg", exif=exif, quality=95)
    assert bench.value("ocr", image_path="a.jpg") == ["Sideways 12"]


def test_grey_on_grey_is_read_after_preprocessing(bench):
    image = written(["Faint but there"], size=14, width=220).convert("L").point(lambda value: 120 + value * 40 // 255)
    image.save(bench.folder / "a.png")
    assert bench.value("ocr", image_path="a.png") == ["Faint but there"]


def test_nothing_to_read_is_an_empty_list(bench):
    Image.new("RGB", (200, 100), "white").save(bench.folder / "a.png")
    assert bench.value("ocr", image_path="a.png") == []


def test_what_is_no_image_is_refused(bench):
    (bench.folder / "a.png").write_text("no image")
    assert bench.refusal("ocr", image_path="a.png")[0] == "failed"


def test_a_missing_tesseract_is_unavailable(bench, monkeypatch):
    import pytesseract

    Image.new("RGB", (20, 20), "white").save(bench.folder / "a.png")
    monkeypatch.setattr(pytesseract.pytesseract, "tesseract_cmd", "no-such-program")
    kind, message = bench.refusal("ocr", image_path="a.png")
    assert (kind, "apt-get install tesseract-ocr" in message) == ("unavailable", True)


def test_a_word_that_another_reading_is_surer_of_is_taken_from_it():
    words = [reading.Word("().89", 51, (10, 10, 50, 20), (0, 1))]
    other = [reading.Word("0.89", 95, (10, 10, 49, 20), (1, 1)), reading.Word("new", 90, (80, 10, 99, 20), (1, 1))]
    assert [word.text for word in reading._improved(words, other)] == ["0.89", "new"]
    assert reading._improved(words, [reading.Word("x", 40, (10, 10, 50, 20), (1, 1))]) == words


def test_a_word_that_was_missed_joins_the_line_that_it_stands_in():
    words = [reading.Word("Cranial", 90, (0, 10, 40, 20), (0, 1)), reading.Word("below", 90, (0, 30, 40, 40), (0, 2))]
    missed = [reading.Word("nerves", 90, (45, 11, 80, 21), (1, 7)), reading.Word("far", 90, (300, 11, 330, 21), (1, 7))]
    lines = [line["text"] for line in reading._lines(reading._improved(words, missed))]
    assert lines == ["Cranial nerves", "far", "below"]


def test_the_receipt_of_gta_is_read_without_a_mistake_in_its_prices(bench):
    source = need_data("gta", "figure_samples", "image", "bill.jpg")
    (bench.folder / "bill.jpg").write_bytes(source.read_bytes())
    found = prices(bench.value("ocr", image_path="bill.jpg"))
    assert found == ["2.49", "1.49", "1.49", "2.79", "3.50", "0.65", "3.04", "1.35", "0.89", "1.75", "19.44"]
    food = [float(found[place]) for place in (1, 2, 3, 4, 5, 8)]
    assert round(sum(food), 2) == 10.81
    assert round(sum(map(float, found[:-1])), 2) == float(found[-1])


def test_the_receipt_of_t3_is_read_without_a_mistake_in_its_prices(bench):
    (bench.folder / "254.jpg").write_bytes(need_data("images", "254.jpg").read_bytes())
    found = prices(bench.value("ocr", image_path="254.jpg"))
    assert found == ["7.95", "3.95", "9.50", "21.40", "1.92", "23.32"]
