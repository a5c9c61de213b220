"""Google's results through Serper (serper.dev). It knows no tool."""

from tracer1.toolbox.backends import BACKENDS, Hit
from tracer1.toolbox.backends._web import Service, key_of
from tracer1.toolbox.backends.search._reading import entry, hits


@BACKENDS.register("search.serper")
class Serper:
    """See `backends.Search`.

    Args:
        api_key_env: The environment variable with the key.
        url: Of the service.
        timeout_s, patience_s: Of one attempt; of all.
    """

    def __init__(
        self,
        *,
        api_key_env: str = "SERPER_API_KEY",
        url: str = "https://google.serper.dev/search",
        timeout_s: float = 20.0,
        patience_s: float = 60.0,
    ) -> None:
        self.url, self.identity = url, "serper"
        where = "executor.backends.search (serper)"
        self._service = Service(where, timeout_s, patience_s, {"X-API-KEY": key_of(api_key_env, where)})

    def search(self, query: str, count: int = 10) -> list[Hit]:
        """See `backends.Search`; Google's answer box comes first, where there is one."""
        answer = self._service.json("POST", self.url, json={"q": query, "num": count})
        found = hits("serper", entry(answer, "organic"), ("title", "link", "snippet"), count)
        box = entry(answer, "answerBox")
        said = str(entry(box, "answer") or entry(box, "snippet") or "")
        first = [Hit(str(entry(box, "title") or "Answer"), str(entry(box, "link") or ""), said)] if said else []
        return [*first, *found][:count]
