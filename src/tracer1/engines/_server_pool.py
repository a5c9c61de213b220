"""Several servers: who is there, whose groups go to whom, and what becomes of the groups of one that dies.

It knows groups by their numbers and costs, and nothing of what is asked about them.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence

from tracer1.engines._balance import spread
from tracer1.engines._patient_http import Gone
from tracer1.engines._vllm_remote import RemoteVllm
from tracer1.errors import EngineError

log = logging.getLogger(__name__)

_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0


class ServerPool:
    """The servers of a run.

    Args:
        servers: One or more.
        patience_s: How long all of them may be away.
    """

    def __init__(self, servers: Sequence[RemoteVllm], patience_s: float) -> None:
        self.servers, self.patience_s = list(servers), patience_s

    def leave(self, server: RemoteVllm, error: Gone) -> None:
        """A server has died; the first who finds it out says so."""
        others = sum(not other.away for other in self.servers) - (not server.away)
        if not server.away and len(self.servers) > 1:
            log.warning(
                "%s %s of %d servers are left; it is taken in again when it answers.", error, others, len(self.servers)
            )
        server.leave(error)

    def present(self, without: Collection[RemoteVllm] = ()) -> list[RemoteVllm]:
        """Who answers, but for some. Waits while nobody does.

        Raises:
            EngineError: nobody has answered for `patience_s`.
        """
        self._look_for_the_lost()
        return self.known(without) or self._wait_for_any(without)

    def known(self, without: Collection[RemoteVllm] = ()) -> list[RemoteVllm]:
        """Who is not known to be away, but for some."""
        return [server for server in self.servers if not server.away and server not in without]

    def _look_for_the_lost(self) -> None:
        for server in self.servers:
            if server.away and server.http.answers():
                log.warning("The vLLM server at %s is back.", server.url)
                server.away = False

    def _wait_for_any(self, without: Collection[RemoteVllm]) -> list[RemoteVllm]:
        until, pause = time.monotonic() + self.patience_s, _PAUSE_S
        waited_for = [server for server in self.servers if server not in without]
        while waited_for and time.monotonic() + pause < until:
            time.sleep(pause)
            self._look_for_the_lost()
            if here := self.known(without):
                return here
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        why = next((server.why for server in reversed(self.servers) if server.why), "")
        raise EngineError(
            f"No vLLM server is left of {len(self.servers)}. {why} Start it again and go on with ckpt_path=last, or check "
            "engine.url; engine.patience_s is how long it is waited for."
        )


class Dispatch:
    """One call's groups on their way through the servers. A server that dies loses its groups to the others at once.

    Args:
        pool: The servers.
        ask: (server, groups) asks one server about some groups and keeps the answers; raises Gone when it dies.
        left: Which of some groups still lack answers.
        costs: Of each group.
        first: The server that comes first among equals.
    """

    def __init__(
        self,
        pool: ServerPool,
        ask: Callable[[RemoteVllm, list[int]], None],
        left: Callable[[Sequence[int]], list[int]],
        costs: Sequence[float],
        first: int = 0,
    ) -> None:
        self.pool, self.ask, self.left, self.costs, self.first = pool, ask, left, costs, first
        self._ended: queue.SimpleQueue[tuple[RemoteVllm, list[int], BaseException | None]] = queue.SimpleQueue()
        self._under_way = 0
        self._died: dict[RemoteVllm, float] = {}  # in this call, and when first

    def run(self) -> None:
        """Returns when all groups are answered.

        Raises:
            EngineError: nobody is left, or a server refuses.
        """
        self._share_out(self.left(range(len(self.costs))))
        while self._under_way:
            server, groups, error = self._ended.get()
            self._under_way -= 1
            if isinstance(error, Gone):
                self._died.setdefault(server, time.monotonic())
                self.pool.leave(server, error)
            elif error is not None:
                raise error
            self._share_out(self.left(groups))

    def _share_out(self, groups: list[int]) -> None:
        if not groups:
            return
        # who has died is asked again where nobody else is left, but not for ever: it may answer a glance and no request
        long_ago = time.monotonic() - self.pool.patience_s
        here = self.pool.known(without=self._died) or self.pool.present(
            [s for s, at in self._died.items() if at < long_ago]
        )
        for server, share in zip(here, spread([self.costs[b] for b in groups], len(here), self.first), strict=True):
            if share:
                self._under_way += 1
                asked = server, [groups[i] for i in share]
                threading.Thread(target=self._ask, args=asked, daemon=True).start()

    def _ask(self, server: RemoteVllm, groups: list[int]) -> None:
        error = None
        try:
            self.ask(server, groups)
        except BaseException as own:  # raised by `run`, in the caller's thread
            error = own
        self._ended.put((server, groups, error))
