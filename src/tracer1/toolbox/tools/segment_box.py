"""segment_box: the outline of the thing in a box, found without weights by GrabCut. It knows nothing of what the thing is."""

from pathlib import Path
from typing import Any

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, box, path, tool
from tracer1.toolbox.tools._inside import inside


@TOOLS.register("segment_box")
@tool(
    "Separates the thing in a box [x1, y1, x2, y2], in pixels, from its background.",
    {"image_path": path("an image"), "box": box("a box around the thing, [x1, y1, x2, y2] in pixels")},
    returns='{"mask_path": a black and white image, "box": the thing\'s own box, "share": of the given box that it fills}',
)
def segment_box(desk: Desk, image_path: Path, box: list[float]) -> dict[str, Any]:
    """Raises ToolError for a box outside of the image, or as large as it."""
    out, name = desk.workspace.new("mask", ".png")
    return {"mask_path": name, **inside(desk, "vision.segment", path=image_path, box=box, out=out)}
