"""image_edit: an image changed after an instruction (tools, section 1). It knows no model."""

from pathlib import Path

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, ToolError, path, text, tool
from tracer1.toolbox.tools._pictures import kept, shown


@TOOLS.register("image_edit")
@tool(
    "Changes an image after an instruction.",
    {"prompt": text("what to change, e.g. 'make it night'"), "image_path": path("the image")},
    returns="the path of the new image",
    backend="images",
)
def image_edit(desk: Desk, prompt: str, image_path: Path) -> str:
    """Raises ToolError for an empty instruction, and for what is no image."""
    model = desk.backends.need("images")
    if not prompt.strip():
        raise ToolError("bad_arguments", "image_edit needs an instruction.")
    return kept(desk, "edited", model.edit(prompt, shown(desk, image_path).data))
