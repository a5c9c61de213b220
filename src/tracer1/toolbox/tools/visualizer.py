"""visualizer: a vision-language model's answer to a question about an image (tools, section 1). It knows no model."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, text, tool
from tracer1.toolbox.tools._pictures import shown

_CAPTION = "Describe in detail what this image shows, and write down any text in it."


@TOOLS.register("visualizer")
@tool(
    "Answers a question about an image; without a question it describes the image.",
    {"question": text("what to find out; may be empty"), "image_path": path("the image")},
    returns="the answer",
    backend="vision",
)
def visualizer(desk: Desk, question: str, image_path: Path) -> str:
    """Raises ToolError for what is no image."""
    model = desk.backends.need("vision")
    picture = shown(desk, image_path)
    if question.strip():
        return model.ask(question, [picture.data])
    return f"No question was given; the image in detail: {model.ask(_CAPTION, [picture.data])}"
