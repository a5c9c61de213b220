"""paste_image: one image laid over another. It knows nothing of what is in them."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, integer, path, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("paste_image")
@tool(
    "Lays an image over another one.",
    {
        "image_path": path("the image below"),
        "other_image_path": path("the image that is laid over it"),
        "x": integer("pixels from the left, where its left side goes"),
        "y": integer("pixels from the top, where its upper side goes"),
    },
    returns="the path of the new image",
)
def paste_image(desk: Desk, image_path: Path, other_image_path: Path, x: int, y: int) -> str:
    """Raises ToolError where the other image would lie outside."""
    return picture(desk, "pasted", "images.paste", path=image_path, other=other_image_path, position=[x, y])
