"""rotate_image: an image turned about its centre. It knows nothing of what is in it."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, number, path, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("rotate_image")
@tool(
    "Turns an image counterclockwise by degrees; it grows so that no corner is lost.",
    {"image_path": path("an image"), "degrees": number("counterclockwise; -90 turns it to the right")},
    returns="the path of the new image",
)
def rotate_image(desk: Desk, image_path: Path, degrees: float) -> str:
    """Raises ToolError for a file that is no image."""
    return picture(desk, "rotated", "images.rotate", path=image_path, degrees=degrees)
