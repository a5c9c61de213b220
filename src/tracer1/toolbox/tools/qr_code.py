"""qr_code: the texts of the QR codes in an image. It knows nothing of what they mean, and opens no address in them."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, tool
from tracer1.toolbox.tools._inside import inside


@TOOLS.register("qr_code")
@tool("Reads the QR codes in an image.", {"image_path": path("an image")}, returns="a list of their texts")
def qr_code(desk: Desk, image_path: Path) -> list[str]:
    """Raises ToolError for a file that is no image."""
    return inside(desk, "vision.qr", path=image_path)
