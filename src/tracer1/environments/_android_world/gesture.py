"""Our Action -> the fields of AndroidWorld's JSONAction. It knows no device.

Conventions, as its `actuation.execute_adb_action` has them:
- its `scroll` names the side that is revealed, as ours does: `scroll down` moves the finger up. Its `swipe` is the same upwards and
  downwards turned round, but not sideways; nothing here writes a swipe.
- a scroll starts in the middle of the element with that index, of the whole screen without one; index 0 counts as none.
- `input_text` taps where x and y are given, types, and presses Enter: see `Device.act` for how that is avoided.
- `answer` is what information-retrieval tasks are scored by; `status` does nothing on the device.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tracer1.actions import DIRECTIONS
from tracer1.environments._foreign import ImpossibleAction
from tracer1.schema import Action, Point

JsonAction = dict[str, Any]  # the arguments of JSONAction

_PLAIN = {"press_home": "navigate_home", "press_back": "navigate_back", "wait": "wait"}
_TOUCHES = {
    "click": "click",
    "left_double": "double_tap",
    "long_press": "long_press",
    "right_single": "long_press",  # what opens a menu on a phone
}
_STATUS = {"finished": "complete", "call_user": "infeasible"}
_KEYS = {"enter": "keyboard_enter", "return": "keyboard_enter", "back": "navigate_back", "home": "navigate_home"}


@dataclass(frozen=True)
class Area:
    """A scrollable element of the screen."""

    index: int  # among the state's ui_elements
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels

    @property
    def size(self) -> float:
        """In square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


def to_json_actions(action: Action, size: tuple[int, int], areas: Iterable[Area] = ()) -> list[JsonAction]:
    """What AndroidWorld is asked to do, in order.

    Args:
        action: Canonical, its points in 0..1000 of the upright screenshot.
        size: Width and height of the logical screen in pixels.
        areas: What can be scrolled: a scroll with a place scrolls the smallest one there.

    Raises:
        ImpossibleAction: JSONAction has no such action, or it lacks an argument.
    """
    kind = action.action_type
    if kind in _PLAIN:
        return [{"action_type": _PLAIN[kind]}]
    if kind in _TOUCHES:
        return [{"action_type": _TOUCHES[kind], **_at(action.point, size)}]
    if kind in _STATUS:
        said = [{"action_type": "answer", "text": action.content}] if action.content else []
        return [*said, {"action_type": "status", "goal_status": _STATUS[kind]}]
    if kind == "scroll":
        return [_scroll(action, size, areas)]
    if kind == "type":
        return _type(action, size)
    if kind == "open_app" and action.app_name:
        return [{"action_type": "open_app", "app_name": action.app_name}]
    if kind == "hotkey" and action.key in _KEYS:
        return [{"action_type": _KEYS[action.key]}]
    raise ImpossibleAction(f"AndroidWorld has no action for {kind!r:.60}, or it lacks an argument: {action!r:.200}")


def to_pixel(point: Point | None, size: tuple[int, int]) -> tuple[int, int]:
    """The nearest pixel; a point outside of the screen is taken at its edge. Raises ImpossibleAction for no point."""
    if point is None:
        raise ImpossibleAction("The action names no place.")
    x, y = (min(max(round(v / 1000 * side), 0), side - 1) for v, side in zip(point, size, strict=True))
    return x, y


def _at(point: Point | None, size: tuple[int, int]) -> JsonAction:
    x, y = to_pixel(point, size)
    return {"x": x, "y": y}


def _scroll(action: Action, size: tuple[int, int], areas: Iterable[Area]) -> JsonAction:
    if action.direction not in DIRECTIONS:
        raise ImpossibleAction(f"A scroll has no direction {action.direction!r:.20}.")
    json_action: JsonAction = {"action_type": "scroll", "direction": action.direction}
    if action.point is not None:
        x, y = to_pixel(action.point, size)
        there = [a for a in areas if a.index > 0 and a.box[0] <= x <= a.box[2] and a.box[1] <= y <= a.box[3]]
        if there:
            json_action["index"] = min(there, key=lambda area: area.size).index
    return json_action


def _type(action: Action, size: tuple[int, int]) -> list[JsonAction]:
    """One `input_text`, whose own Enter stands for a trailing newline; only the newline: Enter alone."""
    text = (action.content or "").replace("\r\n", "\n").removesuffix("\n")
    place = {} if action.point is None else _at(action.point, size)
    if text:
        return [{"action_type": "input_text", "text": text, **place}]
    if not action.content:
        raise ImpossibleAction("There is nothing to type.")
    return [*([{"action_type": "click", **place}] if place else []), {"action_type": "keyboard_enter"}]
