"""web_search: the hits of a search engine, one a line. It knows no engine."""

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, ToolError, integer, text, tool


@TOOLS.register("web_search")
@tool(
    "Searches the web.",
    {"query": text("what to search for"), "count": integer("the most hits, 1 to 20; 10 if left out", optional=True)},
    returns="numbered hits: title, address, snippet",
    backend="search",
)
def web_search(desk: Desk, query: str, count: int = 10) -> str:
    """Raises ToolError for an empty query."""
    engine = desk.backends.need("search")
    if not query.strip():
        raise ToolError("bad_arguments", "web_search needs words to search for.")
    hits = engine.search(query.strip(), min(max(count, 1), 20))
    lines = [f"{number}. {hit.title} ({hit.url}): {hit.snippet}" for number, hit in enumerate(hits, 1)]
    return "\n".join(lines) or "Nothing was found."
