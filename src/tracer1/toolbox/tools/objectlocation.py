"""objectlocation: where the things of a name are in an image (tools, section 1). It knows no detector."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, ToolError, path, text, tool
from tracer1.toolbox.tools._pictures import shown


@TOOLS.register("objectlocation")
@tool(
    "Finds the things of a name in an image.",
    {"object": text("what to find, e.g. 'dog'"), "image_path": path("the image")},
    returns="a list of boxes [x1, y1, x2, y2] in pixels, the surest first; empty if there is none",
    backend="detection",
)
def objectlocation(desk: Desk, object: str, image_path: Path) -> list[list[float]]:
    """Raises ToolError for what is no image."""
    detector = desk.backends.need("detection")
    if not object.strip():
        raise ToolError("bad_arguments", "objectlocation needs the name of what to find.")
    picture = shown(desk, image_path)
    found = detector.find(picture.data, object.strip())
    edges = (picture.width, picture.height) * 2
    return [
        [round(min(place * picture.scale, edge), 2) for place, edge in zip(box, edges, strict=True)] for box, _ in found
    ]
