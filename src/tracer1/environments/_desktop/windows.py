"""The windows of one X display, through wmctrl and the window manager's properties. It knows no application and no task.

It runs inside the desktop, as the user of the desktop, and needs nothing that is imported late.
"""

import subprocess
import time
from dataclasses import dataclass

MANAGED_S = 10.0  # for the window manager to take over the display
SETTLED_S = 0.3  # after it says that it has: a window opened earlier is sometimes never mapped
WINDOW_S = 60.0  # for a window to appear: a first LibreOffice on a loaded machine
_POLL_S = 0.1


@dataclass(frozen=True)
class Window:
    """One managed window."""

    id: str  # "0x00c00003"
    wm_class: str  # "mousepad.Mousepad"
    title: str


def managed(seconds: float = MANAGED_S) -> bool:
    """Waits until a window manager has the display, and has had it for a moment."""
    deadline = time.monotonic() + seconds
    while "# 0x" not in _output("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S / 2)
    time.sleep(SETTLED_S)
    return True


def windows() -> list[Window]:
    """All that are managed, oldest first."""
    rows = (line.split(None, 4) for line in _output("wmctrl", "-lx").splitlines())
    return [Window(row[0], row[2], row[4] if len(row) > 4 else "") for row in rows if len(row) >= 4]


def find(name: str, strict: bool = False, by_class: bool = False) -> Window | None:
    """The first window whose title (or class) holds the name; is the name, where `strict`. Upper and lower case are one."""
    wanted = name.lower()
    for window in windows():
        text = (window.wm_class if by_class else window.title).lower()
        if text == wanted or (not strict and wanted in text):
            return window
    return None


def activate(name: str, strict: bool, by_class: bool, seconds: float = WINDOW_S) -> bool:
    """Waits for a window, brings it to the front and waits until it is; False where that does not come about in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        window = find(name, strict, by_class)
        if window is not None:
            _output("wmctrl", "-i", "-a", window.id)
            time.sleep(_POLL_S)
            if _active() == int(window.id, 16):
                return True
        time.sleep(_POLL_S)
    return False


def close(name: str, strict: bool, by_class: bool, seconds: float = 5.0) -> bool:
    """Asks a window to close; False where there is none, or where it stays."""
    window = find(name, strict, by_class)
    if window is None:
        return False
    _output("wmctrl", "-i", "-c", window.id)
    deadline = time.monotonic() + seconds
    while any(other.id == window.id for other in windows()):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _active() -> int | None:
    """The id of the window that has the focus."""
    text = _output("xprop", "-root", "_NET_ACTIVE_WINDOW").rpartition("# ")[2].strip().partition(",")[0]
    return int(text, 16) if text.startswith("0x") else None


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    return done.stdout.decode(errors="replace")
