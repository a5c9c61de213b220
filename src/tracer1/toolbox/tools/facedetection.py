"""facedetection: where faces are, found by OpenCV's Haar cascades, or by YuNet where its weights are. It knows nothing of who they are.

Haar needs no weights, sees frontal faces of some size, and now and then what is none; YuNet (`backends.faces`) sees more.
"""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, tool
from tracer1.toolbox.tools._inside import inside


@TOOLS.register("facedetection")
@tool(
    "Finds the faces in an image.",
    {"image_path": path("an image")},
    returns="a list of boxes [x1, y1, x2, y2] in pixels, each half as large again as the face",
    also="faces",
)
def facedetection(desk: Desk, image_path: Path) -> list[list[int]]:
    """Raises ToolError for a file that is no image, and for weights that are none."""
    better = desk.backends.faces
    return inside(desk, "vision.faces", path=image_path, weights=better.weights if better else None)
