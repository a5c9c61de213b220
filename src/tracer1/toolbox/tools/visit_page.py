"""visit_page: a web page as Markdown, a part at a time. It knows nothing about how pages are fetched."""

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, ToolError, integer, text, tool

PART = 5 * 1024  # characters of a part: the viewport of T3's browser (tools, section 1)


@TOOLS.register("visit_page")
@tool(
    "Reads a web page.",
    {
        "url": text("http:// or https://"),
        "part": integer("which part of a long page, from 1; 1 if left out", optional=True),
    },
    returns="the part of the page as Markdown, after a line that says how many there are",
    backend="pages",
)
def visit_page(desk: Desk, url: str, part: int = 1) -> str:
    """Raises ToolError for a page that cannot be read, and for a part that it does not have."""
    page = desk.backends.need("pages").read(url)
    parts = max(1, -(-len(page) // PART))
    if not 1 <= part <= parts:
        raise ToolError("bad_arguments", f"The page has the parts 1 to {parts}; there is no part {part}.")
    return f"Part {part} of {parts}.\n{page[(part - 1) * PART : part * PART]}"
