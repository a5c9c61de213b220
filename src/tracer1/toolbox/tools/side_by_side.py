"""side_by_side: images in a row, to be compared. It knows nothing of what is in them."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, tool
from tracer1.toolbox.tools._inside import picture

IMAGES = {
    "type": "array",
    "items": {"type": "string", "format": "path", "minLength": 1},
    "minItems": 1,
    "maxItems": 16,
    "description": "images, from left to right",
}


@TOOLS.register("side_by_side")
@tool("Puts images next to each other, equally high.", {"image_paths": IMAGES}, returns="the path of the new image")
def side_by_side(desk: Desk, image_paths: list[Path]) -> str:
    """Raises ToolError for a file that is no image, and where the row would be too large."""
    return picture(desk, "row", "images.side_by_side", paths=image_paths)
