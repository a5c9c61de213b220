"""Search with Tavily (tavily.com). It knows no tool."""

from tracer1.toolbox.backends import BACKENDS, Hit
from tracer1.toolbox.backends._web import Service, key_of
from tracer1.toolbox.backends.search._reading import entry, hits


@BACKENDS.register("search.tavily")
class Tavily:
    """See `backends.Search`.

    Args:
        api_key_env: The environment variable with the key.
        url: Of the service.
        timeout_s, patience_s: Of one attempt; of all.
    """

    def __init__(
        self,
        *,
        api_key_env: str = "TAVILY_API_KEY",
        url: str = "https://api.tavily.com/search",
        timeout_s: float = 20.0,
        patience_s: float = 60.0,
    ) -> None:
        self.url, self.identity = url, "tavily"
        where = "executor.backends.search (tavily)"
        headers = {"Authorization": f"Bearer {key_of(api_key_env, where)}"}
        self._service = Service(where, timeout_s, patience_s, headers)

    def search(self, query: str, count: int = 10) -> list[Hit]:
        """See `backends.Search`."""
        answer = self._service.json("POST", self.url, json={"query": query, "max_results": count})
        return hits("tavily", entry(answer, "results"), ("title", "url", "content"), count)
