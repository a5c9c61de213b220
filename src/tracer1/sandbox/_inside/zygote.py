"""The warm interpreter: has the libraries loaded, and forks a process for each session. Standard library only.

It runs inside bubblewrap, as the only process there that may make namespaces, and never touches what a session sends or writes.
"""

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from tracer1.sandbox._inside import isolate, seccomp
from tracer1.sandbox._inside.interpreter import Interpreter
from tracer1.sandbox._inside.wire import Channel

LONGEST = 1 << 16  # bytes of a message of the control socket


class Zygote:
    """Forks and reaps.

    Args:
        control: A SOCK_SEQPACKET socket. There come in {"open": id, "folder", "temporary_mb", "base_mb"} with two file descriptors (the
            session's socket and where its output goes), {"kill": id} and {"ping": n}; there go out {"ready"}, {"ended": id, "status"}
            and {"pong": n}.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._self = os.pidfd_open(os.getpid())
        self._filter = seccomp.prepare()
        self._sessions: dict[int, int] = {}  # pid -> id

    def serve(self) -> None:
        """Forks sessions until the control socket ends."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._tell({"ready": True})
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == wake_read:
                    os.read(wake_read, 4096)
                    self._reap()
                elif not self._hear():
                    return

    def _tell(self, message: dict[str, Any]) -> None:
        self._control.send(json.dumps(message).encode())

    def _hear(self) -> bool:
        data, ancillary, _, _ = self._control.recvmsg(LONGEST, socket.CMSG_SPACE(8))
        if not data:
            return False
        message = json.loads(data)
        if "open" in message:
            fds = array.array("i", b"".join(data for *_, data in ancillary))
            self._open(message, *fds)
        elif "kill" in message:
            for pid in [pid for pid, name in self._sessions.items() if name == message["kill"]]:
                os.kill(pid, signal.SIGKILL)
        else:
            self._tell({"pong": message["ping"]})
        return True

    def _open(self, message: dict[str, Any], link: int, output: int) -> None:
        isolate.next_fork_starts_a_process_namespace(self._self)
        pid = os.fork()
        if pid == 0:
            self._be_a_session(message, link, output)
        os.close(link)
        os.close(output)
        self._sessions[pid] = message["open"]

    def _be_a_session(self, message: dict[str, Any], link: int, output: int) -> None:
        """In the child; does not come back."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            link = os.dup2(link, 100, inheritable=False)  # out of the way of 0, 1 and 2, and above what is closed below
            nothing = os.open(os.devnull, os.O_RDWR)
            for target, fd in ((0, nothing), (1, output), (2, output)):
                os.dup2(fd, target)
            os.closerange(3, link)
            channel = Channel(link, link)
            try:
                isolate.enter(message["folder"], message["temporary_mb"], self._filter)
            except OSError as error:
                channel.send({"fault": str(error)})
                raise
            link = _lowest(link)
            channel = Channel(link, link)
            channel.send({"hello": True})
            _new_random_numbers()
            Interpreter(channel, message["base_mb"]).serve()
            status = 0
        finally:
            os._exit(status)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] in self._sessions:
                    self._tell({"ended": self._sessions.pop(ended[0]), "status": ended[1]})


def _lowest(fd: int) -> int:
    """The same at the lowest free number: 100 may lie above the limit of open files."""
    low = os.dup(fd)
    os.close(fd)
    return low


def _new_random_numbers() -> None:
    """numpy's global generator was seeded when it was imported: without this all sessions would draw the same numbers."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def load(modules: Sequence[str]) -> None:
    """Imports what sessions will probably use; what is not installed is left out."""
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def main(control_fd: int, modules: Sequence[str]) -> None:
    """Entry point of the process."""
    control = socket.socket(fileno=control_fd)
    load(modules)
    os.chdir("/")
    os.environ["MPLCONFIGDIR"] = isolate.TEMPORARY
    sys.path.append(isolate.WORK)
    gc.collect()
    gc.freeze()  # what is loaded stays as it is: its pages are shared by all sessions
    Zygote(control).serve()
