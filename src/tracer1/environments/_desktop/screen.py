"""Eyes and hands on an X display: the screenshot, and PyAutoGUI in a process that stays. It knows no window and no task."""

import contextlib
import io
import sys
import threading
import traceback
from typing import Any

# What OSWorld's client puts before every action (desktop_env/controllers/python.py); other Python runs in a process of its own
PREFIX = "import pyautogui; import time; pyautogui.FAILSAFE = False; "
_LOCK = threading.Lock()


def screenshot() -> bytes:
    """The whole screen with the pointer, as a PNG."""
    import mss
    from PIL import Image

    with _LOCK, mss.mss(with_cursor=True) as eye:
        shot = eye.grab(eye.monitors[0])
        picture = Image.frombytes("RGB", shot.size, shot.bgra, "raw", "BGRX")
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


class Hand:
    """Runs lines of PyAutoGUI, one at a time. Makes one screenshot, so that nothing is left to be imported."""

    def __init__(self) -> None:
        sys.modules.setdefault(
            "mouseinfo", None
        )  # a window of PyAutoGUI's that nobody opens; it ends the program without tkinter
        import pyautogui
        import Xlib.display

        self._names = {"pyautogui": pyautogui, "Xlib": Xlib}
        screenshot()

    def understands(self, code: str) -> bool:
        """Whether the code is an action of OSWorld's client."""
        return code.startswith(PREFIX)

    def run(self, code: str) -> dict[str, Any]:
        """What OSWorld's server answers to it. An exception in the code is its result, not ours."""
        out, error, status = io.StringIO(), "", 0
        with _LOCK, contextlib.redirect_stdout(out):
            try:
                exec(compile(code, "<action>", "exec"), dict(self._names))
            except Exception:
                error, status = traceback.format_exc(), 1
        return {"status": "success", "output": out.getvalue(), "error": error, "returncode": status}
