"""Whose processes a desktop's are, and how all of them end. It knows nothing of X, windows or tasks."""

import contextlib
import ctypes
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

MARK = "TRACER1_DESKTOP"  # in the environment of every process of a desktop, its token
FIRST_USER, USERS = (
    60578,
    128,
)  # numeric users that Debian and systemd give to nobody (systemd.io/UIDS-GIDS); no account is made
_GONE_S = 10.0
_SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 36, 37  # <linux/prctl.h>


@dataclass(frozen=True)
class Desk:
    """One desktop, from start to end."""

    token: str
    home: Path  # HOME of everything in it
    user: int | None  # numeric user and group; None: whoever we are
    size: tuple[int, int]  # pixels

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "Desk":
        """What `fields` wrote."""
        return cls(fields["token"], Path(fields["home"]), fields["user"], tuple(fields["size"]))

    def fields(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "home": str(self.home)}

    def become_user(self) -> None:
        """Gives up root's rights for good: user, group, further groups. What is imported later must be readable by that user."""
        if self.user is not None:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)


class User:
    """A numeric user that no other desktop of this machine has at the same time; none where we are not root.

    It is held by a name in the abstract socket space, which the kernel frees when its holder is gone, however it ended.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._held: socket.socket | None = None
        if os.geteuid() == 0:
            self._take()

    def _take(self) -> None:
        for number in range(FIRST_USER, FIRST_USER + USERS):
            name = socket.socket(socket.AF_UNIX)
            try:
                name.bind(f"\0tracer1-desktop-user-{number}")
            except OSError:
                name.close()
                continue
            self.number, self._held = number, name
            return
        raise RuntimeError(f"all {USERS} users for desktops are taken: {USERS} desktops run on this machine")

    def release(self) -> None:
        if self._held is not None:
            self._held.close()


def owned(token: str) -> list[psutil.Process]:
    """All processes of a desktop, also those that have left their group and session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == token:
                found.append(process)
    return found


def busy(token: str, seconds: float, share: float = 0.1) -> bool:
    """Whether the desktop's processes compute, or wait to, for more than a share of the next seconds."""
    processes = owned(token)
    before = _computed(processes)
    time.sleep(seconds)
    waiting = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.status() in waiting:
                return True
    return _computed(processes) - before > share * seconds


def _computed(processes: list[psutil.Process]) -> float:
    """Seconds of processor time that they have used."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def end_all(token: str, seconds: float = _GONE_S) -> bool:
    """Kills them until none is left; False where some stay. The caller itself is spared."""
    deadline = time.monotonic() + seconds
    while processes := [one for one in owned(token) if _alive(one)]:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=0.5)
        if time.monotonic() > deadline:
            return False
    return True


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def adopt_orphans() -> None:
    """What this process' children leave behind becomes its own: in a container nobody else may bury the dead.

    For a process that does nothing else: whatever it starts, it inherits the rest of.
    """
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans() -> None:
    """Buries all children that have ended, in a process that adopts orphans; elsewhere their parents wait for them."""
    adopts = ctypes.c_int()
    ctypes.CDLL(None).prctl(_GET_CHILD_SUBREAPER, ctypes.byref(adopts), 0, 0, 0)
    if not adopts.value:
        return
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
