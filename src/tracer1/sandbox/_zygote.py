"""The host's side of a warm interpreter: starts it, asks it for sessions, hears of their ends. It knows nothing of what they run."""

import atexit
import contextlib
import itertools
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracer1.sandbox import _cgroup
from tracer1.sandbox._inside import zygote as inside
from tracer1.sandbox._link import Link, Lost
from tracer1.sandbox._root import arguments, environment, package_root

log = logging.getLogger(__name__)

_MAIN = (
    "import sys; sys.path.insert(0, {root!r}); from tracer1.sandbox._inside.zygote import main; main({fd}, {load!r})"
)
_START_S = 120.0  # libraries on a slow disk, on a busy machine
_GONE_S = 5.0  # how long killed processes may take to go
_CREDENTIALS = struct.Struct("3i")  # struct ucred: the kernel says who wrote, in our numbers
_PAGES_PER_MB = (1 << 20) // os.sysconf("SC_PAGE_SIZE")


class Zygote:
    """A warm interpreter inside bubblewrap.

    Args:
        bwrap: The program.
        load: Modules to import before the first session.
        cache: See `_root.arguments`.
    """

    def __init__(self, bwrap: str, load: Sequence[str], cache: Path | None) -> None:
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        main = _MAIN.format(root=str(package_root()), fd=self._theirs.fileno(), load=tuple(load))
        self._command = [bwrap, *arguments(cache), "--", sys.executable, "-P", "-s", "-c", main]
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._links: dict[int, ForkedLink] = {}
        self._pongs = threading.Semaphore(0)
        self._ready, self.dead = threading.Event(), threading.Event()
        self.owner = os.getpid()  # a process forked from it has no say
        self.opened = 0  # sessions so far
        self._cgroups: list[Path] = []
        self.pid: int | None = None  # of the warm interpreter, in our numbers
        self.error = ""  # what bubblewrap or the interpreter said at its end
        self.base_mb, self.own_mb = 0, 0.0  # its address space, and its memory that is not a file's
        atexit.register(self.stop)
        # The kernel ends bubblewrap when the *thread* that started it ends (--die-with-parent): this one lives as long as it does.
        threading.Thread(target=self._mind, name="sandbox", daemon=True).start()

    def wait_ready(self) -> None:
        """Waits until it can make sessions; raises Lost with what it said when it cannot."""
        for _ in range(int(_START_S / 0.1)):
            if self._ready.wait(0.1) or self.dead.is_set():
                break
        if self.dead.is_set() or not self._ready.is_set():
            self.stop()
            raise Lost(f"bubblewrap did not start: {self.error or f'nothing happened in {_START_S:g} s'}")

    def open(self, folder: Path, temporary_mb: int) -> "ForkedLink":
        """A new session's interpreter, which sees `folder`."""
        ours, theirs = socket.socketpair()
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        link = ForkedLink(self, next(self._numbers), ours, read_fd)
        link.own_mb = self.own_mb
        with self._lock:
            self._links[link.number] = link
            self.opened += 1
        request = {
            "open": link.number,
            "folder": os.path.realpath(folder),
            "temporary_mb": temporary_mb,
            "base_mb": self.base_mb,
        }
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], [theirs.fileno(), write_fd])
        except OSError as error:
            link.close()
            raise Lost(f"the warm interpreter is gone ({error})") from error
        finally:
            theirs.close()
            os.close(write_fd)
        return link

    def tell(self, message: dict[str, Any]) -> None:
        """Sends a message; a dead interpreter is noticed elsewhere."""
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            self.dead.wait(_GONE_S)

    def ping(self, seconds: float = 10.0) -> bool:
        """Whether it answers."""
        self.tell({"ping": 1})
        return self._pongs.acquire(timeout=seconds)

    def idle(self) -> bool:
        """Whether it has no sessions."""
        with self._lock:
            return not self._links

    def stop(self) -> None:
        """Ends it and all sessions; comes back when they are gone."""
        if self.owner == os.getpid():  # a fork of ours has no say
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
            self.dead.wait(_GONE_S)

    def _mind(self) -> None:
        """The thread's life: starts the process, listens to it, buries it."""
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    env=environment(),
                    cwd="/",
                    pass_fds=[self._theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the training: it may want to finish its round
                )
            except OSError as error:
                self.error = str(error)
            else:
                self._theirs.close()
                self._listen()
                process.kill()
                process.wait()
                said.seek(0)
                self.error = said.read().decode("utf-8", "replace").strip()[-2000:]
        _cgroup.remove(self._cgroups)
        atexit.unregister(self.stop)
        self.dead.set()
        with self._lock:
            left, self._links = self._links, {}
        for link in left.values():
            link.ended.set()
        self._control.close()
        self._theirs.close()

    def _listen(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._control.recvmsg(inside.LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
            except OSError:
                return
            if not data:
                return
            message = json.loads(data)
            if "ended" in message:
                with self._lock:
                    link = self._links.pop(message["ended"], None)
                if link:
                    link.status = message["status"]
                    link.ended.set()
            elif "ready" in message:
                self._measure(sender(ancillary))
                self._ready.set()
            else:
                self._pongs.release()

    def _measure(self, pid: int | None) -> None:
        self.pid = pid
        try:
            pages = [int(field) for field in Path(f"/proc/{pid}/statm").read_text().split()]
            self.base_mb, self.own_mb = pages[0] // _PAGES_PER_MB + 1, (pages[1] - pages[2]) / _PAGES_PER_MB
            Path(f"/proc/{pid}/oom_score_adj").write_text("900")  # of all processes, rather these than the training
            self._cgroups = _cgroup.enclose(pid)
        except (OSError, ValueError) as error:
            log.debug("the warm interpreter cannot be measured: %s", error)


class ForkedLink(Link):
    """A link to a child of a warm interpreter."""

    def __init__(self, zygote: Zygote, number: int, link: socket.socket, output_fd: int) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket, self._zygote, self.number = link, zygote, number
        self.ended = threading.Event()
        super().__init__(link.fileno(), link.fileno(), output_fd)

    @property
    def lost(self) -> bool:
        return self._zygote.dead.is_set() or not self.ended.is_set()

    def gone(self, seconds: float = 0.0) -> bool:
        return self.ended.wait(seconds) if seconds else self.ended.is_set()

    def kill(self) -> None:
        self._zygote.tell({"kill": self.number})
        if self._zygote.dead.is_set():
            self.ended.set()
        if not self.ended.wait(_GONE_S):
            self._zygote.stop()
            raise Lost("killed processes did not go")

    def read(self) -> bool:
        if self.pid is not None:
            return super().read()
        try:  # the first message: the kernel says which process wrote it
            data, ancillary, _, _ = self._socket.recvmsg(1 << 16, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.pid = sender(ancillary)
        self.inbox.feed(data)
        return bool(data)

    def close(self) -> None:
        self._socket.detach()
        super().close()


def sender(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    """The process that wrote a message, in this process's numbers; None when it cannot be seen from here."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0] or None
    return None
