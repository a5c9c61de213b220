"""image_info: the size and format of an image. It knows nothing of what is in it."""

from pathlib import Path
from typing import Any

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, tool
from tracer1.toolbox.tools._inside import inside


@TOOLS.register("image_info")
@tool(
    "Says how large an image is.",
    {"image_path": path("an image")},
    returns='{"width": pixels, "height": pixels, "format", "mode", "frames"}',
)
def image_info(desk: Desk, image_path: Path) -> dict[str, Any]:
    """Raises ToolError for a file that is no image."""
    return inside(desk, "images.info", path=image_path)
