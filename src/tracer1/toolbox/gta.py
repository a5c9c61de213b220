"""GTA's 14 tools under their own names and arguments, answering in GTA's own formats, made of our tools and backends.

    toolbox = Toolbox(GTA, sandbox=..., backends=...)

They are a table of their own, not part of TOOLS: a planner is offered one set or the other. It knows nothing of the benchmark.
Source: toolmeta.json of open-compass/GTA (Apache-2.0), and the answers stored with its reference calls.
"""

import re
from pathlib import Path
from typing import Any

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, Tool, boolean, integer, path, text, tool
from tracer1.toolbox.tools._inside import inside, picture
from tracer1.toolbox.tools._pictures import shown
from tracer1.toolbox.tools.calculator import calculated
from tracer1.toolbox.tools.ocr import read

LONGEST_SEARCH = 1_500  # characters of what a search answers
SURE = 0.5  # the score above which all objects are told
IMAGE = path("an image")
BBOX = {**text("a box, written as (x1, y1, x2, y2)"), "type": ["string", "array"]}  # planners write lists as well


@tool("Reads all text in an image.", {"image": IMAGE}, returns="lines of `(x1, y1, x2, y2) text`")
def ocr(desk: Desk, image: Path) -> str:
    """The lines with their boxes."""
    lines = [f"({', '.join(map(str, line['box']))}) {line['text']}" for line in read(desk, image)]
    return "\n".join(lines) or "No text found."


@tool("Describes an image.", {"image": IMAGE}, returns="a description", backend="vision")
def image_description(desk: Desk, image: Path) -> str:
    """What a vision model sees."""
    return _asked(desk, "Describe the image in detail", image)


@tool(
    "Describes an attribute of a region of an image.",
    {"image": IMAGE, "bbox": BBOX, "attribute": text("what is asked about the region")},
    returns="a description",
    backend="vision",
)
def region_attribute_description(desk: Desk, image: Path, bbox: Any, attribute: str) -> str:
    """What a vision model says of the region alone."""
    return _asked(desk, f"Describe {attribute} on the image in detail", image, bbox)


@tool(
    "Finds an object by its description.",
    {
        "image": IMAGE,
        "text": text("the object, in English"),
        "top1": boolean("only the likeliest; true if it is not given", optional=True),
    },
    returns="lines of `(x1, y1, x2, y2), score NN`, or `No object found.`",
    backend="detection",
)
def text_to_bbox(desk: Desk, image: Path, text: str, top1: bool = True) -> str:
    """Boxes in pixels of the image, the likeliest first; with `top1` off those with a score above SURE."""
    detector = desk.backends.need("detection")
    picture = shown(desk, image)
    found = sorted(detector.find(picture.data, text), key=lambda item: -item[1])
    kept = found[:1] if top1 else [item for item in found if item[1] > SURE]
    lines = [
        f"({', '.join(str(round(side * picture.scale)) for side in box)}), score {round(100 * score)}"
        for box, score in kept
    ]
    return "\n".join(lines) or "No object found."


@tool(
    "Counts an object in an image.",
    {"image": IMAGE, "text": text("the object, in English")},
    returns="a whole number",
    backend="vision",
)
def count_given_object(desk: Desk, image: Path, text: str) -> int:
    """The first whole number that a vision model says, 0 where it says none."""
    number = re.search(r"\d+", _asked(desk, f"How many {text} are in the image? Reply a digit", image))
    return int(number.group()[:9]) if number else 0


@tool("Reads a mathematical expression in an image.", {"image": IMAGE}, returns="LaTeX", backend="vision")
def math_ocr(desk: Desk, image: Path) -> str:
    """What a vision model reads."""
    return _asked(desk, "Write the mathematical expression in the image as LaTeX. Reply with the LaTeX only.", image)


@tool(
    "Draws a box on an image.",
    {"image": IMAGE, "bbox": BBOX, "annotation": text("a note above the box", optional=True)},
    returns="the path of the new image",
)
def draw_box(desk: Desk, image: Path, bbox: Any, annotation: str | None = None) -> str:
    """See the tool draw_box."""
    return picture(desk, "boxed", "images.draw_box", path=image, box=bbox, annotation=annotation)


@tool(
    "Writes text on an image.",
    {
        "image": IMAGE,
        "text": text("what is written"),
        "position": text(
            'the left-bottom corner "(x, y)", or one of l, m, r and one of t, m, b, such as "mt" for middle-top'
        ),
        "color": text("red if it is not given", optional=True),
    },
    returns="the path of the new image",
)
def add_text(desk: Desk, image: Path, text: str, position: str, color: str = "red") -> str:
    """See the tool add_text."""
    return picture(desk, "texted", "images.add_text", path=image, text=text, position=position, color=color)


@tool(
    "Searches the web.",
    {"query": text("what is searched for"), "k": integer("how many results; 10 if it is not given", optional=True)},
    returns="numbered lines of `title: snippet`",
    backend="search",
)
def google_search(desk: Desk, query: str, k: int = 10) -> str:
    """At most LONGEST_SEARCH characters of the first k results."""
    hits = desk.backends.need("search").search(query, max(1, k))[: max(1, k)]
    lines = [f"{number} - {hit.title}: {hit.snippet}" for number, hit in enumerate(hits, 1)]
    return "\n\n".join(lines)[:LONGEST_SEARCH] or "No good search result was found."


@tool(
    "Works out one arithmetic expression.",
    {"expression": text("a single Python expression; the math module needs no import")},
    returns="the value",
)
def calculator(desk: Desk, expression: str) -> str:
    """See the tool calculator."""
    return calculated(expression)


@tool(
    "Solves equations: runs Python that defines solution(), with sympy.",
    {"command": text("Markdown with Python code; its solution() returns the answer as text")},
    returns="what solution() returned",
    runs_code=True,
)
def solver(desk: Desk, command: str) -> str:
    """See the tool solver."""
    return inside(desk, "programs.solve", None, command=command)


@tool(
    "Draws a diagram: runs Python that defines solution(), with matplotlib.",
    {"command": text("Markdown with Python code; its solution() returns the figure")},
    returns="the path of the picture",
    runs_code=True,
)
def plot(desk: Desk, command: str) -> str:
    """See the tool plot."""
    return picture(desk, "plot", "programs.plot", command=command)


@tool(
    "Makes a picture.",
    {"keywords": text("what it shows, separated by commas")},
    returns="the path of the picture",
    backend="images",
)
def text_to_image(desk: Desk, keywords: str) -> str:
    """See the tool image_generator."""
    return TOOLS.get("image_generator").run(desk, prompt=keywords)


@tool(
    "Changes a picture as an instruction says.",
    {"image": IMAGE, "instruction": text('what becomes of it, such as "add fireworks to the sky"')},
    returns="the path of the new picture",
    backend="images",
)
def image_stylization(desk: Desk, image: Path, instruction: str) -> str:
    """See the tool image_edit."""
    return TOOLS.get("image_edit").run(desk, prompt=instruction, image_path=image)


GTA: dict[str, Tool] = {
    "OCR": ocr, "ImageDescription": image_description, "RegionAttributeDescription": region_attribute_description,
    "TextToBbox": text_to_bbox, "DrawBox": draw_box, "AddText": add_text, "GoogleSearch": google_search, "Calculator": calculator,
    "Solver": solver, "Plot": plot, "MathOCR": math_ocr, "CountGivenObject": count_given_object, "TextToImage": text_to_image,
    "ImageStylization": image_stylization,
}  # fmt: skip


def _asked(desk: Desk, question: str, image: Path, box: Any = None) -> str:
    """A vision model's answer about an image, or about a box of it."""
    model = desk.backends.need("vision")
    return model.ask(question, [shown(desk, image, box).data])
