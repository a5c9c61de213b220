"""A device behind AndroidWorld's own `AsyncEnv`: look at it, act on it. It knows no task and no agent.

Three actions of ours are not in JSONAction; they go by the checkout's `adb_utils`, which its own actions go by, too:
`type` without Enter (JSONAction's input_text always presses it, and would submit every form), `drag`, and `press_recent`.
"""

import io
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracer1.environments._android_world.gesture import Area, to_json_actions, to_pixel
from tracer1.environments._foreign import ImpossibleAction, foreign
from tracer1.interfaces import Observation
from tracer1.schema import Action

log = logging.getLogger(__name__)
HOW = (
    "Install AndroidWorld in the environment that runs this (it is not on PyPI): git clone "
    "https://github.com/google-research/android_world, pip install -r android_world/requirements.txt, in the clone `python setup.py "
    "install`, and set `checkout` to the clone (docs/online_benchmarks.md)."
)
DRAG_MS = 500
TYPE_S = 10.0  # for a word, as in their input_text
FOCUS_S = 1.0  # from the tap to the typing, as there


class Device:
    """One Android device.

    Args:
        env: Their AsyncEnv.
        checkout: The clone; None: as it is installed.
        pause_s: Seconds from an action to the look at what it did; None: until the screen is still, as their runner does.
    """

    def __init__(self, env: Any, checkout: Path | None, pause_s: float | None = None) -> None:
        self.env, self._pause_s = env, pause_s
        self._json_action = foreign("android_world.env.json_action", checkout, HOW)
        self._adb = foreign("android_world.env.adb_utils", checkout, HOW)
        self._beyond: dict[str, Callable[[Action, tuple[int, int]], None]] = {
            "type": self._type,
            "drag": self._drag,
            "press_recent": self._press_recent,
        }

    def look(self) -> Observation:
        """The screenshot as a person holds the device: upright."""
        if self._pause_s is not None:
            time.sleep(self._pause_s)
        state = self.env.get_state(wait_to_stabilize=self._pause_s is None)
        return Observation(to_png(state.pixels, self.env.logical_screen_size, lambda: self.env.orientation))

    def act(self, action: Action) -> None:
        """Does an action. Raises ImpossibleAction where a phone has none such."""
        size = self.env.logical_screen_size
        if action.action_type in self._beyond:
            self._beyond[action.action_type](action, size)
            return
        areas = self._areas() if action.action_type == "scroll" and action.point is not None else []
        for fields in to_json_actions(action, size, areas):
            self.env.execute_action(self._json_action.JSONAction(**fields))

    def _areas(self) -> list[Area]:
        elements = enumerate(self.env.get_state(wait_to_stabilize=False).ui_elements)
        boxes = ((i, e.bbox_pixels) for i, e in elements if e.is_scrollable and e.bbox_pixels is not None)
        return [Area(i, (box.x_min, box.y_min, box.x_max, box.y_max)) for i, box in boxes]

    def _type(self, action: Action, size: tuple[int, int]) -> None:
        """Types; every newline is Enter, and there is no other."""
        text = (action.content or "").replace("\r\n", "\n")
        if not text:
            raise ImpossibleAction("There is nothing to type.")
        if not text.isascii():
            log.warning("AndroidWorld types ASCII only: accents are dropped, other letters left out: %.80r", text)
        if action.point is not None:
            x, y = to_pixel(action.point, size)
            self.env.execute_action(self._json_action.JSONAction(action_type="click", x=x, y=y))
            time.sleep(FOCUS_S)
        self._adb.type_text(text, self.env.controller, timeout_sec=TYPE_S)

    def _drag(self, action: Action, size: tuple[int, int]) -> None:
        (x1, y1), (x2, y2) = to_pixel(action.point, size), to_pixel(action.end_point, size)
        self._request(self._adb.generate_swipe_command(x1, y1, x2, y2, duration_ms=DRAG_MS))

    def _press_recent(self, action: Action, size: tuple[int, int]) -> None:
        self._request(["shell", "input", "keyevent", "KEYCODE_APP_SWITCH"])

    def _request(self, words: list[str]) -> None:
        self._adb.issue_generic_request(words, self.env.controller)


def to_png(pixels: Any, logical: tuple[int, int], orientation: Callable[[], int]) -> bytes:
    """The picture as it stands before the user.

    Args:
        pixels: (H, W, 3) uint8, as the device is built: upright in portrait.
        logical: Width and height of the screen as it is held now.
        orientation: 0 to 3 quarter turns; asked only where the two differ, as it costs a call to the device.
    """
    import numpy as np
    from PIL import Image

    pixels = np.asarray(pixels, dtype=np.uint8)
    height, width = pixels.shape[:2]
    if (width - height) * (logical[0] - logical[1]) < 0:
        pixels = np.rot90(pixels, k=orientation())
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[..., :3])).save(out, "PNG", compress_level=1)
    return out.getvalue()
