"""stylize_image: an image as a sketch, a painting or a cartoon, by filters without weights. It knows nothing of what is in it."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, text, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("stylize_image")
@tool(
    "Makes an image look like a sketch, color_sketch, painting or cartoon.",
    {"image_path": path("an image"), "style": text("one of these words")},
    returns="the path of the new image",
)
def stylize_image(desk: Desk, image_path: Path, style: str) -> str:
    """Raises ToolError for a style that there is not."""
    return picture(desk, "stylized", "vision.stylize", path=image_path, style=style)
