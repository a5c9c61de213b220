"""One interpreter on the other side of the border, as its session holds it: messages, output, its end. It knows no kind of sandbox."""

import os
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from tracer1.sandbox._inside.wire import Inbox, pack

_PIECE = 1 << 16  # bytes


class Lost(Exception):
    """The interpreter is gone, and nothing that it ran is to blame: the sandbox itself failed."""


class Deaf(Exception):
    """The interpreter does not take what is sent to it."""


class Link(ABC):
    """Non-blocking ends of the pipes to an interpreter, which the subclass starts and ends.

    Args:
        read_fd, write_fd: Messages from and to it; may be the same.
        output_fd: What it prints.
    """

    def __init__(self, read_fd: int, write_fd: int, output_fd: int) -> None:
        self.read_fd, self.write_fd, self.output_fd = read_fd, write_fd, output_fd
        for fd in (read_fd, write_fd, output_fd):
            os.set_blocking(fd, False)
        self.inbox = Inbox()
        self.pid: int | None = None  # of its first process, as this process sees it; all others descend from it
        self.own_mb = 0.0  # memory that each of its processes seems to have, and shares with a warm interpreter
        self.status: int | None = None  # of wait(), once it has ended
        self.greeted = False  # it stands behind its walls, and code may run
        self.reason = ""  # why we killed it, if we did: a kind of Ran
        self.marks = False  # messages and output travel apart: a mark in the output says where a run's output ends

    @abstractmethod
    def gone(self, seconds: float = 0.0) -> bool:
        """Whether its first process has ended, or does so within `seconds`."""

    @abstractmethod
    def kill(self) -> None:
        """Ends every process of it; comes back when they are gone. Raises Lost when they do not go."""

    @property
    @abstractmethod
    def lost(self) -> bool:
        """Whether it was the sandbox that broke, when it has ended."""

    def send(self, message: Mapping[str, Any], seconds: float = 10.0) -> None:
        """Sends a message; raises Deaf when it is not taken in time. That nobody is there any more is noticed by `read`."""
        data, deadline = memoryview(pack(message)), time.monotonic() + seconds
        while data:
            try:
                data = data[os.write(self.write_fd, data) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Deaf("it does not read its messages") from None
                poll = select.poll()
                poll.register(self.write_fd, select.POLLOUT)
                poll.poll(100)
            except OSError:
                return

    def read(self) -> bool:
        """Puts what has arrived into `inbox`; False at the end of the stream."""
        try:
            piece = os.read(self.read_fd, _PIECE)
        except BlockingIOError:
            return True
        except OSError:  # a reset is an end, too
            return False
        self.inbox.feed(piece)
        return bool(piece)

    def printed(self) -> bytes | None:
        """A piece of what it has printed; empty at the end of the stream, None when there is nothing now."""
        try:
            return os.read(self.output_fd, _PIECE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        """Kills it and closes the pipes."""
        try:
            if not self.gone():
                self.kill()
        finally:
            for fd in {self.read_fd, self.write_fd, self.output_fd} - {-1}:
                os.close(fd)
            self.read_fd = self.write_fd = self.output_fd = -1  # the numbers may soon be somebody else's
