"""image_generator: a picture after a text (tools, section 1). It knows no model."""

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, ToolError, text, tool
from tracer1.toolbox.tools._pictures import kept


@TOOLS.register("image_generator")
@tool(
    "Makes an image after a description.",
    {"prompt": text("what the image shows")},
    returns="the path of the new image",
    backend="images",
)
def image_generator(desk: Desk, prompt: str) -> str:
    """Raises ToolError for an empty description."""
    model = desk.backends.need("images")
    if not prompt.strip():
        raise ToolError("bad_arguments", "image_generator needs a description of the image.")
    return kept(desk, "generated", model.generate(prompt))
