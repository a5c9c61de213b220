"""A line between the processes of one training: each says what it does, and all learn at once when one of them is gone.

A process that is killed cannot say so; the kernel closes its connections, whatever the library that sums gradients makes of it. Rank 0
holds a connection to every other rank. It knows sockets and threads, and nothing of torch or of rounds.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from typing import Any

log = logging.getLogger(__name__)

PING_S = 2.0  # a process that lives says so as often as this
SILENT_PINGS = 3  # and is silent when it has left out so many


@dataclass
class Sign:
    """What a rank was doing when it was last heard of."""

    doing: str = "starting"
    waiting: bool = False  # for other ranks: its own share of the stage is done
    at: float = field(default_factory=time.monotonic)

    @property
    def silent(self) -> bool:
        """Whether not even its thread answers: it is stopped, or its machine is gone."""
        return time.monotonic() - self.at > SILENT_PINGS * PING_S


@dataclass(frozen=True)
class Loss:
    """Who is gone, how, and during what."""

    rank: int
    how: str
    doing: str

    def __str__(self) -> str:
        return f"Rank {self.rank} {self.how} in {self.doing}"


class Lifeline:
    """One rank's end of the line; its thread listens until `leave`.

    Args:
        rank: This process.
        silent_s: A rank that has given no sign for so long is gone, too.
        lost: Called in the line's thread, once, when the first rank is gone.
    """

    def __init__(self, rank: int, silent_s: float, lost: Callable[[Loss], None]) -> None:
        self.rank, self.silent_s, self.lost = rank, silent_s, lost
        self.signs: dict[int, Sign] = {}  # of the other ranks; rank 0 has all of them, others that of rank 0
        self.loss: Loss | None = None
        self.known = threading.Event()  # that there is a loss
        self._own = Sign()
        self._peers: dict[Connection, int] = {}
        self._lock = threading.Lock()  # two threads write
        self._left = threading.Event()

    def open(self, host: str, ranks: int, tell: Callable[[Any], Any]) -> None:
        """Connects all ranks; every one calls it.

        Args:
            host: Where the others reach rank 0.
            ranks: How many there are.
            tell: Gives every rank what rank 0 passes (the others pass None).
        """
        if self.rank == 0:
            secret = os.urandom(16)
            with Listener(("", 0), backlog=ranks, authkey=secret) as listener:
                tell((listener.address[1], secret))
                while len(self._peers) < ranks - 1:
                    self._accept(listener)
        else:
            port, secret = tell(None)
            peer = Client((host, port), authkey=secret)
            peer.send(("rank", self.rank))
            self._peers[peer] = 0
        self.signs = {rank: Sign() for rank in self._peers.values()}
        os.register_at_fork(after_in_child=self._close)  # else a data worker would hold the line of a rank that is gone
        threading.Thread(target=self._listen, name="lifeline", daemon=True).start()

    def _accept(self, listener: Listener) -> None:
        """A stranger who has found the port is left standing."""
        try:
            peer = listener.accept()
            self._peers[peer] = peer.recv()[1]
        except (AuthenticationError, EOFError, OSError) as error:
            log.debug("Somebody else knocked: %s", error)

    def _close(self) -> None:
        for peer in self._peers:
            peer.close()

    def say(self, doing: str, waiting: bool = False) -> None:
        """What this rank does now."""
        if (doing, waiting) != (self._own.doing, self._own.waiting):
            self._own = Sign(doing, waiting)
            self._send(("sign", doing, waiting))

    def leave(self, reason: str | None) -> None:
        """Goes, with the error that ended this rank, or None when nothing is wrong: then nobody is alarmed."""
        self._send(("left", reason))
        self._left.set()

    def _send(self, message: tuple[Any, ...]) -> None:
        with self._lock:
            for peer in [*self._peers]:
                try:
                    peer.send(message)
                except OSError:  # the thread finds the same when it reads
                    continue

    def _listen(self) -> None:
        pinged = time.monotonic()
        while self._peers and not self._left.is_set():
            for peer in wait([*self._peers], timeout=PING_S / 4):
                self._hear(peer)
            now = time.monotonic()
            if now - pinged > 3 * PING_S:  # this process itself was stopped: what the others said meanwhile comes first
                self.signs = {rank: Sign(sign.doing, sign.waiting) for rank, sign in self.signs.items()}
            if now - pinged > PING_S:
                pinged = now
                self._send(("sign", self._own.doing, self._own.waiting))
            for rank, sign in self.signs.items():
                if now - sign.at > self.silent_s:
                    self._note(Loss(rank, f"has given no sign for {now - sign.at:.0f} s", sign.doing))
        for peer in [*self._peers]:
            self._hang_up(peer)

    def _hear(self, peer: Connection) -> None:
        rank = self._peers[peer]
        doing = self.signs[rank].doing
        try:
            kind, *said = peer.recv()
        except (EOFError, OSError):
            self._hang_up(peer)
            return self._note(Loss(rank, "is gone (its process was killed, or its machine)", doing))
        if kind == "sign":
            self.signs[rank] = Sign(*said)
        elif kind == "lost":
            self._note(said[0])
        else:
            self._hang_up(peer)
            if said[0] is not None:
                self._note(Loss(rank, f"has ended with {said[0]}", doing))
        return None

    def _hang_up(self, peer: Connection) -> None:
        with self._lock:
            self.signs.pop(self._peers.pop(peer), None)
            peer.close()

    def _note(self, loss: Loss) -> None:
        if self.loss is not None:
            return
        self.loss = loss
        if self.rank == 0:
            self._send(("lost", loss))
        self.known.set()
        self.lost(loss)


def laggards(signs: Mapping[int, Sign]) -> dict[int, Sign]:
    """The ranks for which the others wait: those that are silent, or else those whose own share is not done."""
    silent = {rank: sign for rank, sign in signs.items() if sign.silent}
    return silent or {rank: sign for rank, sign in signs.items() if not sign.waiting}
