"""resize_image: an image in another size. It knows nothing of what is in it."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, integer, path, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("resize_image")
@tool(
    "Makes an image larger or smaller, in pixels; with only one side given, the other follows.",
    {
        "image_path": path("an image"),
        "width": integer("pixels", optional=True),
        "height": integer("pixels", optional=True),
    },
    returns="the path of the new image",
)
def resize_image(desk: Desk, image_path: Path, width: int | None = None, height: int | None = None) -> str:
    """Raises ToolError without either side, and for a size that is none or too large."""
    return picture(desk, "resized", "images.resize", path=image_path, width=width, height=height)
