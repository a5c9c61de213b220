"""draw_box: a red box around a part of an image, with a note. It knows nothing of what is in it."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, box, path, text, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("draw_box")
@tool(
    "Draws a red box [x1, y1, x2, y2], in pixels, on an image.",
    {
        "image_path": path("an image"),
        "box": box("[x1, y1, x2, y2] in pixels"),
        "annotation": text("a note above the box", optional=True),
    },
    returns="the path of the new image",
)
def draw_box(desk: Desk, image_path: Path, box: list[float], annotation: str | None = None) -> str:
    """Raises ToolError for a box outside of the image."""
    return picture(desk, "boxed", "images.draw_box", path=image_path, box=box, annotation=annotation)
