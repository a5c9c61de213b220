"""ocr: the text in an image, read by tesseract in the sandbox. It knows nothing of what the text means."""

from pathlib import Path
from typing import Any

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, tool
from tracer1.toolbox.tools._inside import inside


@TOOLS.register("ocr")
@tool("Reads the text in an image.", {"image_path": path("an image")}, returns="a list of the lines of text")
def ocr(desk: Desk, image_path: Path) -> list[str]:
    """Raises ToolError for a file that is no image, and where tesseract is not installed."""
    return [line["text"] for line in read(desk, image_path)]


def read(desk: Desk, image: Path) -> list[dict[str, Any]]:
    """The lines `{"text", "box", "confidence"}` in an image; see `inside.reading.lines`."""
    return inside(desk, "reading.lines", path=image)["lines"]
