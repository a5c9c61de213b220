"""A desktop as the machine behind OSWorld's class: X server, window manager, HTTP server; started, reverted, stopped. It knows no task.

One folder, one numeric user (where we are root), one display and one port each, so several run side by side. Xvfb picks a free display
itself and the server a free port: nothing is guessed. Reverting kills every process of the desktop and empties its HOME; what it wrote
elsewhere (/tmp, where everybody may) stays, unlike in a virtual machine.
"""

import contextlib
import json
import logging
import os
import secrets
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tracer1.environments._desktop.home import PROGRAMS, furnish
from tracer1.environments._desktop.processes import MARK, Desk, User, end_all, reap_orphans
from tracer1.errors import EnvironmentFault

log = logging.getLogger(__name__)
STARTED_S = 30.0  # for the X server, and for what runs on it
ATTEMPTS = 3


class Manager:
    """OSWorld's class asks it for the path of a machine; the rest of its interface is for machines that are kept in a list."""

    def get_vm_path(self, **_: Any) -> str:
        return "local"


class Machine:
    """What OSWorld calls a provider.

    Args:
        folder: Its own, emptied at the end by whoever made it.
        token: Marks its processes.
        size: Of the screen, in pixels.
    """

    def __init__(self, folder: Path, token: str, size: tuple[int, int]) -> None:
        self._folder = folder
        self._user = User()
        self.desk = Desk(token, folder / "home", self._user.number, size)
        self.address = ""
        self._server: subprocess.Popen | None = None

    def start_emulator(self, path_to_vm: str, headless: bool, os_type: str = "Ubuntu") -> None:
        """Starts everything on an empty HOME. Raises EnvironmentFault when that fails three times over."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._start()
            except (OSError, ValueError, EnvironmentFault) as error:
                log.warning("Starting a desktop, attempt %d of %d: %s", attempt, ATTEMPTS, error)
                reason = error
                self.stop_emulator(path_to_vm)
        raise EnvironmentFault(f"No desktop started, {ATTEMPTS} times over; the last time: {reason}")

    def get_ip_address(self, path_to_vm: str) -> str:
        """Address and ports in OSWorld's order: server, chromium, vnc, vlc; the last three are its usual ones, nothing listens."""
        return f"{self.address}:9222:8006:8080"

    def revert_to_snapshot(self, path_to_vm: str, snapshot_name: str) -> str:
        """Ends everything; OSWorld's class then starts it again."""
        self.stop_emulator(path_to_vm)
        return path_to_vm

    def save_state(self, path_to_vm: str, snapshot_name: str) -> None:
        raise EnvironmentFault("A local desktop has no snapshots: every start is on an empty HOME.")

    def stop_emulator(self, path_to_vm: str) -> None:
        """Kills every process of the desktop, wherever it has gone, and removes its HOME."""
        if not end_all(self.desk.token):
            raise EnvironmentFault("Processes of a desktop could not be killed; they are marked with TRACER1_DESKTOP.")
        if self._server is not None:
            for pipe in (self._server.stdin, self._server.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
            self._server.wait()
            self._server = None
        reap_orphans()
        shutil.rmtree(self.desk.home, ignore_errors=True)

    def alive(self) -> bool:
        """Whether its server still runs."""
        return self._server is not None and self._server.poll() is None

    def _start(self) -> None:
        home = self.desk.home
        shutil.rmtree(home, ignore_errors=True)
        furnish(home)
        display = self._start_display(home)
        _write_cookie(home / ".Xauthority", self._cookie, display)
        self._own(home)
        self._server = self._spawn([sys.executable, "-P", "-m", f"{__package__}.server"], display, ours=True)
        self._server.stdin.write(json.dumps(self.desk.fields()).encode() + b"\n")
        self._server.stdin.flush()
        said = json.loads(_line(self._server.stdout.fileno(), "the desktop's server") or b"{}")
        if "port" not in said:
            raise EnvironmentFault(f"the desktop's server did not start: {said.get('error', self._last_words())}")
        self.address = f"127.0.0.1:{said['port']}"

    def _start_display(self, home: Path) -> int:
        """Starts Xvfb; returns the number of the display that it has picked."""
        self._cookie = secrets.token_bytes(16)
        _write_cookie(home / ".Xserver", self._cookie, 0)
        self._own(home)
        width, height = self.desk.size
        reader, writer = os.pipe()
        command = [
            "Xvfb",
            "-displayfd",
            str(writer),
            "-screen",
            "0",
            f"{width}x{height}x24",
            "-nolisten",
            "tcp",
            "-noreset",
        ]
        try:
            self._spawn([*command, "-auth", str(home / ".Xserver")], None, pass_fds=(writer,))
            os.close(writer)
            number = _line(reader, "Xvfb").strip()
        finally:
            os.close(reader)
        if not number:
            raise EnvironmentFault(f"Xvfb did not start: {self._last_words()}")
        return int(number)

    def _spawn(self, command: list[str], display: int | None, ours: bool = False, **more: Any) -> subprocess.Popen:
        """Starts a part of the desktop, as its user; the server (`ours`) becomes that user itself, after its imports."""
        user = None if ours else self.desk.user
        if user is not None:
            more.update(user=user, group=user, extra_groups=[])
        if ours:
            more.update(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with open(self._folder / "log.txt", "ab") as log_file:
            return subprocess.Popen(
                command, env=self._environment(display), cwd="/", start_new_session=True, umask=0o022,
                **{"stdin": subprocess.DEVNULL, "stdout": log_file, "stderr": log_file, **more},
            )  # fmt: skip

    def _environment(self, display: int | None) -> dict[str, str]:
        """All that the desktop's processes are told: nothing of ours, keys and tokens least of all."""
        home = self.desk.home
        root = str(Path(__file__).parents[3])
        return {
            MARK: self.desk.token, "HOME": str(home), "USER": "user", "LOGNAME": "user", "SHELL": "/bin/bash",
            "PATH": f"{home / PROGRAMS}:/usr/local/bin:/usr/bin:/bin:/usr/games", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
            "TMPDIR": str(home / ".tmp"), "XDG_RUNTIME_DIR": str(home / ".run"), "XAUTHORITY": str(home / ".Xauthority"),
            "DBUS_SESSION_BUS_ADDRESS": "disabled:", "NO_AT_BRIDGE": "1", "GTK_OVERLAY_SCROLLING": "0", "GDK_BACKEND": "x11",
            "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]), "PYTHONDONTWRITEBYTECODE": "1",
            **({} if display is None else {"DISPLAY": f":{display}"}),
        }  # fmt: skip

    def _own(self, home: Path) -> None:
        if self.desk.user is not None:
            for path in (home, *home.rglob("*")):
                os.chown(path, self.desk.user, self.desk.user, follow_symlinks=False)

    def _last_words(self) -> str:
        text = (self._folder / "log.txt").read_text(errors="replace").strip()
        return " | ".join(text.splitlines()[-3:]) or "it said nothing"


def _line(descriptor: int, who: str) -> bytes:
    """The first line that can be read; b"" when the other side ends without one. Raises EnvironmentFault after a while."""
    deadline, text = time.monotonic() + STARTED_S, b""
    while not text.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise EnvironmentFault(f"{who} did not start within {STARTED_S:g} s")
        if not (piece := os.read(descriptor, 1)):
            return b""
        text += piece
    return text


def _write_cookie(path: Path, cookie: bytes, display: int) -> None:
    """An authority file of X: family 256 (this host), its name, the display, the protocol, the cookie; each with its length."""
    path.touch(mode=0o600)
    parts = (socket.gethostname().encode(), str(display).encode(), b"MIT-MAGIC-COOKIE-1", cookie)
    path.write_bytes(struct.pack(">H", 256) + b"".join(struct.pack(">H", len(part)) + part for part in parts))
