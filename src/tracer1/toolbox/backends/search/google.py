"""Search with Google's Custom Search JSON API, which gives at most ten hits a request. It knows no tool."""

from tracer1.toolbox.backends import BACKENDS, Hit
from tracer1.toolbox.backends._web import Service, key_of
from tracer1.toolbox.backends.search._reading import entry, hits

_MOST = 10


@BACKENDS.register("search.google")
class Google:
    """See `backends.Search`.

    Args:
        api_key_env: The environment variable with the key.
        engine_env: The environment variable with the search engine's id (`cx`).
        url: Of the service.
        timeout_s, patience_s: Of one attempt; of all.
    """

    def __init__(
        self,
        *,
        api_key_env: str = "GOOGLE_API_KEY",
        engine_env: str = "GOOGLE_CSE_ID",
        url: str = "https://www.googleapis.com/customsearch/v1",
        timeout_s: float = 20.0,
        patience_s: float = 60.0,
    ) -> None:
        where = "executor.backends.search (google)"
        self._secrets = {"key": key_of(api_key_env, where), "cx": key_of(engine_env, where)}
        self.url, self.identity = url, f"google {self._secrets['cx']}"
        self._service = Service(where, timeout_s, patience_s)

    def search(self, query: str, count: int = 10) -> list[Hit]:
        """See `backends.Search`."""
        wanted = {"q": query, "num": min(count, _MOST), **self._secrets}
        answer = self._service.json("GET", self.url, params=wanted)
        return hits("google", entry(answer, "items"), ("title", "link", "snippet"), count)
