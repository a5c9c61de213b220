"""GUI-Odyssey's actions in our terms: their types, places, words and boxes. It knows nothing about files."""

import math
from collections.abc import Mapping
from typing import Any

from tracer1.actions import direction_of_path, in_box
from tracer1.data.converters._text import text_in
from tracer1.data.drafts import Unusable
from tracer1.interfaces import Note
from tracer1.schema import Action, Box, Point

_KEYS = {
    "KEY_HOME": "press_home",
    "KEY_BACK": "press_back",
    "KEY_APPSELECT": "press_recent",
    "KEY_RECENT": "press_recent",  # as the first version's introduction.md has it
}
_TOUCHES = {"CLICK": "click", "LONG_PRESS": "long_press"}
_ENDS = {"COMPLETE": "finished", "INCOMPLETE": "call_user", "IMPOSSIBLE": "call_user"}
_BUTTONS = {"HOME": "press_home", "BACK": "press_back"}  # named by introduction.md beside the keys
_WORDS = {  # the instruction of a step that has none, made of its action
    "click": "Tap the place at ({x:.0f}, {y:.0f}).",
    "long_press": "Touch and hold the place at ({x:.0f}, {y:.0f}).",
    "scroll": "Scroll {direction}.",
    "type": "Type the text: {content}",
    "press_home": "Go to the home screen.",
    "press_back": "Go back.",
    "press_recent": "Show the recent apps.",
    "finished": "Finish: the task is done.",
    "call_user": "Stop: the task cannot be done.",
}


def to_action(step: Mapping[str, Any]) -> Action:
    """The action of a step in our terms, without its instruction. Raises Unusable for one that is unknown or says too little."""
    name, info = text_in(step, "action"), step.get("info")
    if name in _TOUCHES and isinstance(info, str):
        if info not in _KEYS:
            raise Unusable("unknown key", info)
        return Action(_KEYS[info])
    if name in _TOUCHES:
        return Action(_TOUCHES[name], point=_path(info)[0])
    if name == "SCROLL":
        path = _path(info)
        try:
            return Action("scroll", point=path[0], direction=direction_of_path(path[0], path[-1]))
        except ValueError as error:
            raise Unusable("scroll of zero length", str(path[0])) from error
    if name in ("TEXT", "TYPE"):
        if not isinstance(info, str) or not info:
            raise Unusable("empty text")
        return Action("type", content=info)
    if name in _ENDS:  # why it is impossible stands in `ps`, never in `info`
        reason = text_in(step, "ps") if _ENDS[name] == "call_user" else ""
        return Action(_ENDS[name], content=reason or None)
    if name in _BUTTONS:
        return Action(_BUTTONS[name])
    raise Unusable("unknown action", f"{step.get('action')!r:.80}")


def instruction_of(action: Action) -> str:
    """An imperative sentence for a step that came without one."""
    x, y = action.point or (0.0, 0.0)
    return _WORDS[action.action_type].format(x=x, y=y, direction=action.direction, content=action.content)


def outcome_of(steps: list[Any]) -> str | None:
    """`failed` where the last step says that the task cannot be done, else None."""
    name = text_in(steps[-1], "action") if steps else ""
    return "failed" if _ENDS.get(name) == "call_user" else None


def boxes_of(raw: Any, action: Action, record: str, said: list[Note]) -> tuple[tuple[Box, ...], dict[str, Any]]:
    """The box of a step's target and what its meta data keep; version 1 and most types have none.

    A segment that does not hold the expert's own tap would call that tap a miss, so it is no target; it stays in the meta data,
    since the owners' rule counts it all the same.
    """
    if raw is None or raw == [] or action.action_type not in _TOUCHES.values():
        return (), {}
    if not (isinstance(raw, list) and len(raw) == 4 and all(_is_number(value) for value in raw)):
        said.append(Note("repaired", record, "box unreadable", f"{raw!r:.80}"))
        return (), {}
    box: Box = (float(raw[0]), float(raw[1]), float(raw[2]), float(raw[3]))
    assert action.point is not None
    if not in_box(action.point, box):
        said.append(Note("repaired", record, "box does not hold the tap", f"{raw} and {action.point}"))
        return (), {"sam2_bbox": raw}
    return (box,), {}


def _path(info: Any) -> list[Point]:
    """The points of an action. Raises Unusable where they are none."""
    points = info if isinstance(info, list) else []
    if not points or not all(
        isinstance(p, list) and len(p) == 2 and all(_is_number(value) for value in p) for p in points
    ):
        raise Unusable("argument missing", f"no place in {info!r:.80}")
    return [(float(x), float(y)) for x, y in points]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
