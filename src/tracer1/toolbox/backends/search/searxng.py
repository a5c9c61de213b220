"""Search with a SearXNG of one's own, whose settings must allow the format json. It knows no tool."""

from tracer1.toolbox.backends import BACKENDS, Hit
from tracer1.toolbox.backends._web import Service
from tracer1.toolbox.backends.search._reading import entry, hits


@BACKENDS.register("search.searxng")
class SearXNG:
    """See `backends.Search`.

    Args:
        url: Of the instance: `http://127.0.0.1:8888`.
        timeout_s, patience_s: Of one attempt; of all.
    """

    def __init__(self, *, url: str, timeout_s: float = 20.0, patience_s: float = 60.0) -> None:
        self.url, self.identity = url.rstrip("/"), f"searxng {url}"
        self._service = Service("executor.backends.search (searxng)", timeout_s, patience_s)

    def search(self, query: str, count: int = 10) -> list[Hit]:
        """See `backends.Search`."""
        answer = self._service.json("GET", f"{self.url}/search", params={"q": query, "format": "json"})
        return hits("searxng", entry(answer, "results"), ("title", "url", "content"), count)
