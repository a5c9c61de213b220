import io
import json

import pytest
from desks import Bench, need_data, need_tesseract, written
from PIL import Image

from tracer1.toolbox import TOOLS
from tracer1.toolbox.backends import Backends, Hit
from tracer1.toolbox.gta import GTA


class Seer:
    """A vision model that gives one answer and remembers what it was asked and shown."""

    identity = "seer"

    def __init__(self, answer: str) -> None:
        self.answer, self.asked = answer, []

    def ask(self, question: str, images) -> str:
        self.asked.append((question, [Image.open(io.BytesIO(image)).size for image in images]))
        return self.answer


class Finder:
    """A detector that finds what it is told to."""

    identity = "finder"

    def __init__(self, *found) -> None:
        self.found = list(found)

    def find(self, image: bytes, name: str):
        self.seen = Image.open(io.BytesIO(image)).size
        return self.found


class Engine:
    """A search engine with numbered hits."""

    identity = "engine"

    def search(self, query: str, count: int = 10) -> list[Hit]:
        self.count = count
        return [Hit(f"Title {n}", f"https://example.org/{n}", f"about {query}") for n in range(1, 21)]


@pytest.fixture
def bench(tmp_path) -> Bench:
    Image.new("RGB", (400, 300), "white").save(tmp_path / "a.png")
    return Bench(tmp_path, GTA)


def with_backends(bench: Bench, **backends) -> Bench:
    return Bench(bench.folder, GTA, Backends(**backends))


def test_names_and_arguments_are_those_of_gta():
    ours = {
        name: [(word, not schema.get("optional", False)) for word, schema in tool.parameters.items()]
        for name, tool in GTA.items()
    }
    theirs = json.loads(need_data("gta", "toolmeta.json").read_text())
    assert ours == {
        name: [(word["name"], not word["optional"]) for word in tool["inputs"]] for name, tool in theirs.items()
    }


def test_they_are_no_part_of_the_other_tools():
    assert not set(GTA) & set(TOOLS.names())


def test_ocr_tells_boxes(bench):
    need_tesseract()
    written(["Total 19.44"]).save(bench.folder / "b.png")
    box, _, text = bench.value("OCR", image="b.png").partition(") ")
    assert text == "Total 19.44"
    assert len([int(side) for side in box.removeprefix("(").split(", ")]) == 4
    assert bench.value("OCR", image="a.png") == "No text found."


@pytest.mark.parametrize(
    ("answer", "count"), [("6", 6), ("There are 12 eggs, or 13.", 12), ("none that I see", 0), ("9" * 400, 999_999_999)]
)
def test_a_count_is_the_first_whole_number(bench, answer, count):
    seer = Seer(answer)
    assert with_backends(bench, vision=seer).value("CountGivenObject", image="a.png", text="eggs") == count
    assert seer.asked == [("How many eggs are in the image? Reply a digit", [(400, 300)])]


def test_a_region_is_shown_alone(bench):
    seer = Seer("A red door.")
    there = with_backends(bench, vision=seer)
    for bbox in ("(10, 20, 110, 70)", "10, 20, 110, 70", [10, 20, 110, 70]):
        assert there.value("RegionAttributeDescription", image="a.png", bbox=bbox, attribute="colour") == "A red door."
    assert seer.asked == [("Describe colour on the image in detail", [(100, 50)])] * 3


def test_descriptions_and_formulas_come_from_the_vision_model(bench):
    seer = Seer("x^{2}")
    there = with_backends(bench, vision=seer)
    assert there.value("ImageDescription", image="a.png") == there.value("MathOCR", image="a.png") == "x^{2}"
    assert "LaTeX" in seer.asked[1][0]


def test_text_to_bbox_tells_the_likeliest_or_all_that_are_sure(bench):
    found = [((1.2, 2.7, 30, 40), 0.51), ((5, 6, 70, 80), 0.883), ((0, 0, 9, 9), 0.5)]
    there = with_backends(bench, detection=Finder(*found))
    assert there.value("TextToBbox", image="a.png", text="dog") == "(5, 6, 70, 80), score 88"
    assert there.value("TextToBbox", image="a.png", text="dog", top1=False) == (
        "(5, 6, 70, 80), score 88\n(1, 3, 30, 40), score 51"
    )
    nothing = with_backends(bench, detection=Finder())
    assert nothing.value("TextToBbox", image="a.png", text="cat") == "No object found."


def test_boxes_of_a_large_image_are_in_its_own_pixels(bench):
    Image.new("RGB", (3136, 2000)).save(bench.folder / "b.png")
    finder = Finder(((100, 100, 200, 300), 0.9))
    there = with_backends(bench, detection=finder)
    assert there.value("TextToBbox", image="b.png", text="dog") == "(200, 200, 400, 600), score 90"
    assert finder.seen == (1568, 1000)


def test_search_results_are_numbered_and_capped(bench):
    engine = Engine()
    there = with_backends(bench, search=engine)
    assert there.value("GoogleSearch", query="cafe", k=2) == "1 - Title 1: about cafe\n\n2 - Title 2: about cafe"
    assert there.value("GoogleSearch", query="cafe").count("\n\n") == 9
    assert engine.count == 10
    assert len(there.value("GoogleSearch", query="x" * 500)) == 1500


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ImageDescription", {"image": "a.png"}), ("MathOCR", {"image": "a.png"}), ("CountGivenObject", {"image": "a.png", "text": "x"}),
        ("RegionAttributeDescription", {"image": "a.png", "bbox": "(0, 0, 9, 9)", "attribute": "x"}), ("GoogleSearch", {"query": "x"}),
        ("TextToBbox", {"image": "a.png", "text": "x"}),
    ],
)  # fmt: skip
def test_without_a_backend_a_model_is_unavailable(bench, name, arguments):
    assert bench.refusal(name, **arguments)[0] == "unavailable"


def test_the_others_need_no_backend(bench):
    assert bench.value("Calculator", expression="22 - 11 - 9") == "2"
    assert bench.value("Solver", command="```python\ndef solution():\n    return '[1, 6]'\n```") == "[1, 6]"
    boxed = bench.value("DrawBox", image="a.png", bbox="(55, 95, 197, 119)", annotation="RMB")
    assert bench.image(boxed).getpixel((60, 100)) == (255, 191, 191)
    texted = bench.value("AddText", image="a.png", text="water lily", position="mm")
    assert bench.image(texted).getcolors(100_000) != [(120_000, (255, 255, 255))]
    plotted = bench.value(
        "Plot", command="import matplotlib.pyplot as plt\ndef solution():\n    return plt.figure(figsize=(2, 1))"
    )
    assert bench.image(plotted).size == (200, 100)


@pytest.mark.parametrize("bbox", ["(1, 2, 3)", "here", "", [1, 2], "(1, 2, 3, 4, 5)"])
def test_a_box_that_is_none_is_told_how_to_write_one(bench, bbox):
    kind, message = bench.refusal("DrawBox", image="a.png", bbox=bbox)
    assert (kind, "(x1, y1, x2, y2)" in message) == ("bad_arguments", True)
