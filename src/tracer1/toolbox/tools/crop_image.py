"""crop_image: a part of an image. It knows nothing of what is in it."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, box, path, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("crop_image")
@tool(
    "Cuts the box [x1, y1, x2, y2], in pixels, out of an image.",
    {"image_path": path("an image"), "box": box("[x1, y1, x2, y2] in pixels")},
    returns="the path of the new image",
)
def crop_image(desk: Desk, image_path: Path, box: list[float]) -> str:
    """Raises ToolError for a box outside of the image."""
    return picture(desk, "crop", "images.crop", path=image_path, box=box)
