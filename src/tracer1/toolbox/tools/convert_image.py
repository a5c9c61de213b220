"""convert_image: an image in other colours, or mirrored. It knows nothing of what is in it."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, text, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("convert_image")
@tool(
    "Makes an image rgb, grayscale, black_white, inverted, mirrored (left to right) or flipped (upside down).",
    {"image_path": path("an image"), "to": text("one of these words")},
    returns="the path of the new image",
)
def convert_image(desk: Desk, image_path: Path, to: str) -> str:
    """Raises ToolError for a conversion that there is not."""
    return picture(desk, "converted", "images.convert", path=image_path, to=to)
