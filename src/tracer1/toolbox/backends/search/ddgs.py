"""Search with the package ddgs, which asks public engines without a key; they limit how often. It knows no tool."""

import logging
import threading
import time

from tracer1.errors import ExecutorError, MissingDependency
from tracer1.toolbox.backends import BACKENDS, Hit
from tracer1.toolbox.backends.search._reading import hits

log = logging.getLogger(__name__)


@BACKENDS.register("search.ddgs")
class Ddgs:
    """See `backends.Search`.

    Args:
        timeout_s: Of one attempt.
        attempts: How often; the pause between them doubles from one second.
        pause_s: Least time between two requests of this process, since engines shut out who asks too often.
    """

    def __init__(self, *, timeout_s: float = 15.0, attempts: int = 4, pause_s: float = 1.0) -> None:
        self.identity = "ddgs"
        self.timeout_s, self.attempts, self.pause_s = timeout_s, attempts, pause_s
        self._lock = threading.Lock()
        self._next = 0.0

    def search(self, query: str, count: int = 10) -> list[Hit]:
        """See `backends.Search`."""
        try:
            from ddgs import DDGS
            from ddgs.exceptions import DDGSException
        except ImportError as error:
            raise MissingDependency("This search needs ddgs: pip install 'tracer1[search]'.") from error
        last: Exception | None = None
        for attempt in range(self.attempts):
            self._wait()
            try:
                found = DDGS(timeout=int(self.timeout_s)).text(query, max_results=count)
                return hits("ddgs", found, ("title", "href", "body"), count)
            except DDGSException as error:
                if "no results" in str(error).lower():
                    return []
                last = error
                log.warning("ddgs: %.200s (attempt %d of %d)", error, attempt + 1, self.attempts)
                if attempt + 1 < self.attempts:
                    time.sleep(2**attempt)
        raise ExecutorError(
            f"executor.backends.search (ddgs): no answer in {self.attempts} attempts; last: {last!s:.200}. Public engines limit how "
            "often they are asked: use searxng, or an engine with a key, for more."
        ) from last

    def _wait(self) -> None:
        """Keeps the pause between two requests, over all threads."""
        with self._lock:
            now = time.monotonic()
            mine = self._next = max(now, self._next + self.pause_s)
        time.sleep(max(0.0, mine - now))
