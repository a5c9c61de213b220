"""find_on_page: where a text stands on a web page. It knows nothing about how pages are fetched."""

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, ToolError, text, tool
from tracer1.toolbox.tools.visit_page import PART

_AROUND, _MOST = 200, 10  # characters on each side; places that are shown


@TOOLS.register("find_on_page")
@tool(
    "Finds a text on a web page, whatever its case.",
    {"url": text("http:// or https://"), "search_string": text("the text")},
    returns="what stands around each place, and in which part of the page it is",
    backend="pages",
)
def find_on_page(desk: Desk, url: str, search_string: str) -> str:
    """Raises ToolError for a page that cannot be read, and for an empty text."""
    reader = desk.backends.need("pages")
    wanted = " ".join(search_string.split()).lower()
    if not wanted:
        raise ToolError("bad_arguments", "find_on_page needs a text to look for.")
    page = reader.read(url)
    lower = page.lower()
    found, place = [], lower.find(wanted)
    while place >= 0 and len(found) < _MOST:
        around = " ".join(page[max(0, place - _AROUND) : place + len(wanted) + _AROUND].split())
        found.append(f"{len(found) + 1}. (part {place // PART + 1}) ... {around} ...")
        place = lower.find(wanted, place + len(wanted) + _AROUND)
    return "\n".join(found) or f"{search_string!r:.100} is not on the page."
