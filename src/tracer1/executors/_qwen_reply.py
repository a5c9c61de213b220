"""Reads Qwen3-VL's tool calls: `<tool_call>{"name": "computer_use", "arguments": {"action": "left_click", ...}}</tool_call>`.

Both of its GUI tools, computer_use and mobile_use, with all their actions. It knows no prompt.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tracer1.actions import CoordinateSpace
from tracer1.executors._reply import (
    BAD_ARGUMENTS,
    UNKNOWN_ACTION,
    UNREADABLE,
    BadCall,
    Reply,
    make_action,
    read_actions,
    to_place,
)
from tracer1.schema import Action

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_BUTTONS = {
    "back": {"action_type": "press_back"},
    "home": {"action_type": "press_home"},
    "menu": {"action_type": "press_recent"},
    "enter": {"action_type": "hotkey", "key": "enter"},
}
_PRESSES = {  # actions at a place
    "left_click": "click",
    "click": "click",
    "double_click": "left_double",
    "triple_click": "left_double",  # the nearest that there is
    "right_click": "right_single",
    "long_press": "long_press",
    "mouse_move": "hover",
}


def parse(text: str, space: CoordinateSpace) -> Reply:
    """A reply of Qwen3-VL. Any text gives a Reply.

    Args:
        text: As the model wrote it; a last `</tool_call>` may be missing.
        space: `RELATIVE_1000`.
    """
    before, _, text = text.rpartition("</think>")  # whatever calls are pondered there
    head, found, rest = text.partition(_OPEN)
    if not found:
        head, _, rest = text.partition("{") if text.lstrip().startswith("{") else (text, "", "")
        rest = "{" + rest if rest else ""
    said = (before.removeprefix("<think>"), head)
    thought = "\n".join(part.strip().removeprefix("Thought:").strip() for part in said if part.strip())
    pieces = (piece.partition(_CLOSE)[0] for piece in rest.split(_OPEN)) if rest else ()
    return read_actions(thought, _folded(map(_call, pieces)), lambda call: _action(call, space))


def _call(piece: str) -> Any:
    """The arguments of one call, or a BadCall."""
    try:
        call = json.loads(piece)
        arguments = call["arguments"]
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        return BadCall(UNREADABLE, f"not a tool call: {type(error).__name__}: {piece.strip()!r:.60}")
    if not isinstance(arguments, dict) or not isinstance(arguments.get("action"), str):
        return BadCall(UNREADABLE, f"a tool call without an action: {piece.strip()!r:.60}")
    return arguments


def _folded(calls: Iterator[Any]) -> Iterator[Any]:
    """A move and the drag that begins there are one action."""
    moved: Mapping[str, Any] | None = None
    for call in calls:
        name = None if isinstance(call, BadCall) else call["action"]
        if moved is not None and name == "left_click_drag" and "start_coordinate" not in call:
            call, moved = {"start_coordinate": moved.get("coordinate"), **call}, None
        if moved is not None:
            yield moved
        moved = call if name == "mouse_move" else None
        if moved is None:
            yield call
    if moved is not None:
        yield moved


def _action(call: Any, space: CoordinateSpace) -> Action:
    if isinstance(call, BadCall):
        raise call
    name = call["action"].strip().lower()
    point, text = _place(call.get("coordinate")), _text(call.get("text"))
    match name:
        case _ if name in _PRESSES:
            fields = {"action_type": _PRESSES[name], "point": point}
        case "left_click_drag":
            fields = {"action_type": "drag", "point": _place(call.get("start_coordinate")), "end_point": point}
        case "swipe":
            fields = {"action_type": "scroll", "point": point, "end_point": _place(call.get("coordinate2"))}
        case "scroll" | "hscroll":
            fields = {
                "action_type": "scroll",
                "point": point,
                "direction": _side(call.get("pixels"), name == "hscroll"),
            }
        case "type":
            fields = {"action_type": "type", "content": text}
        case "key":
            fields = {"action_type": "hotkey", "key": _keys(call.get("keys")) or text}
        case "system_button":
            fields = _BUTTONS.get(
                str(call.get("button")).lower(), {"action_type": f"button {call.get('button')!r:.20}"}
            )
        case "open":
            fields = {"action_type": "open_app", "app_name": text}
        case "answer":
            fields = {"action_type": "finished", "content": text}
        case "terminate":
            failed = str(call.get("status")).lower() == "failure"
            fields = {"action_type": "call_user" if failed else "finished", "content": text}
        case "wait":
            fields = {"action_type": "wait"}
        case _:
            raise BadCall(UNKNOWN_ACTION, f"no action {name!r:.60}")
    return make_action(
        fields["action_type"], {key: value for key, value in fields.items() if key != "action_type"}, space
    )


def _place(value: Any) -> tuple[float, float] | None:
    """Two numbers, or the four of a box; None where there is none."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
        raise BadCall(BAD_ARGUMENTS, f"a coordinate is a list of numbers, got {value!r:.60}")
    return to_place(map(_number, value))


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of many digits
        return float("inf")


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _keys(value: Any) -> str | None:
    """["ctrl", "c"] -> "ctrl c"."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise BadCall(BAD_ARGUMENTS, f"keys are a list of names, got {value!r:.60}")
    return " ".join(str(key) for key in value)


def _side(pixels: Any, horizontal: bool) -> str:
    """The side that is revealed: a wheel turned up (above 0) shows what is above."""
    if not isinstance(pixels, (int, float)) or isinstance(pixels, bool) or not abs(pixels) > 0:
        raise BadCall(BAD_ARGUMENTS, f"a scroll's pixels are a number other than 0, got {pixels!r:.60}")
    return ("right" if pixels > 0 else "left") if horizontal else ("up" if pixels > 0 else "down")
