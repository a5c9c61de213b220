"""detect_edges: the edges in an image, white on black. It knows nothing of what is in it."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("detect_edges")
@tool("Draws the edges in an image.", {"image_path": path("an image")}, returns="the path of the new image")
def detect_edges(desk: Desk, image_path: Path) -> str:
    """Raises ToolError for a file that is no image."""
    return picture(desk, "edges", "vision.edges", path=image_path)
