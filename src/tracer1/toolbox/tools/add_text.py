"""add_text: text written on an image. It knows nothing of what is in it."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, path, text, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("add_text")
@tool(
    'Writes text on an image at a position "(x, y)" in pixels, or such as "lt" (left-top), "mm" (middle), "rb" (right-bottom).',
    {
        "image_path": path("an image"),
        "text": text("what is written"),
        "position": text(
            'the left-bottom corner "(x, y)" in pixels, or one of l, m, r and one of t, m, b: "mt" is middle-top'
        ),
        "color": text('a name or "#rrggbb"; red if it is not given', optional=True),
    },
    returns="the path of the new image",
)
def add_text(desk: Desk, image_path: Path, text: str, position: str, color: str = "red") -> str:
    """Raises ToolError for a position or colour that is none."""
    return picture(desk, "texted", "images.add_text", path=image_path, text=text, position=position, color=color)
