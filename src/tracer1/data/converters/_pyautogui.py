"""`pyautogui.…` and `computer.…` calls, places in the unit square, to actions (GUI data, section A.1: AgentNet's code vocabulary).

It knows nothing about records, screenshots or instructions.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tracer1.actions import UNIT
from tracer1.data.converters._code import (
    CAPPED,
    MOST_REPEATS,
    Call,
    Operation,
    bind,
    key_names,
    number_of,
    operations_of,
    scroll_direction,
    text_of,
    tidy,
)
from tracer1.data.drafts import Unusable
from tracer1.schema import Action, Point

CENTRE = (500.0, 500.0)  # where a scroll of unknown place is taken to be
_PACE = ("duration", "tween", "logScreenshot", "_pause")  # how fast, never where or what
_BUTTONS = {"left": "click", "primary": "click", "right": "right_single", "secondary": "right_single"}
_MOVED = ("click", "left_double", "right_single", "drag", "scroll")  # happen where the pointer stands


def read_operations(code: str) -> list[Operation]:
    """What a recorded step does, in order: known pairs folded, repeats capped.

    Raises:
        Unusable: Code that cannot be read or has no action here; with `whole` where the trajectory is to be dropped.
    """
    return tidy(_placed(operations_of(code, _CALLS)))


def _placed(operations: Iterable[Operation]) -> list[Operation]:
    """Gives calls without a place the one that the pointer was moved to; a move that served for this is no hover."""
    placed: list[Operation] = []
    pointer: Point | None = None
    for now in operations:
        action = now.action
        if action.action_type in _MOVED and action.point is None:
            if placed and placed[-1].action.action_type == "hover":
                now = replace(now, code=f"{placed.pop().code}\n{now.code}")
            place = CENTRE if pointer is None and action.action_type == "scroll" else pointer
            now = replace(now, action=replace(action, point=place))
        pointer = action.end_point or now.action.point or pointer
        placed.append(now)
    return placed


def _place(given: dict[str, Any], call: Call) -> Point | None:
    if given.get("x") is None and given.get("y") is None:
        return None
    return UNIT.to_thousand((number_of(given.get("x"), call), number_of(given.get("y"), call)))


def _click(call: Call) -> list[Operation]:
    given = bind(call, ("x", "y", "clicks", "interval", "button", *_PACE))
    return _press_button(call, given, number_of(given.get("clicks", 1), call))


def _clicks(count: int, button: str) -> Callable[[Call], list[Operation]]:
    def read(call: Call) -> list[Operation]:
        given = bind(call, ("x", "y", "interval", "button", *_PACE))
        return _press_button(call, {"button": button} | given, count)

    return read


def _press_button(call: Call, given: dict[str, Any], clicks: float) -> list[Operation]:
    button = given.get("button", "left")
    if button == "middle":
        raise Unusable("middle click", call.code[:120], whole=True)
    kind = _BUTTONS.get(button) if isinstance(button, str) else None
    if kind is None or clicks < 1:
        raise Unusable("code not in the vocabulary", call.code[:120])
    if kind == "click" and clicks >= 2:
        kind = "left_double"
    repair = "three or more clicks read as a double click" if kind == "left_double" and clicks > 2 else ""
    return [Operation(Action(kind, point=_place(given, call)), call.code, repair=repair)]


def _move(call: Call) -> list[Operation]:
    place = _place(bind(call, ("x", "y", *_PACE)), call)
    if place is None:
        raise Unusable("argument missing", f"the place of {call.code[:120]}")
    return [Operation(Action("hover", point=place), call.code)]


def _drag(call: Call) -> list[Operation]:
    given = bind(call, ("x", "y", "duration", "tween", "button", "logScreenshot", "_pause", "mouseDownUp"))
    place = _place(given, call)
    if place is None:
        raise Unusable("argument missing", f"the place of {call.code[:120]}")
    if given.get("button", "left") not in ("left", "primary"):
        raise Unusable("code not in the vocabulary", call.code[:120])
    return [Operation(Action("drag", end_point=place), call.code)]


def _scroll(call: Call) -> list[Operation]:
    given = bind(call, ("clicks", "x", "y", *_PACE))
    amount = number_of(given.get("clicks"), call)  # above 0: up
    return [_scrolled(call, given, scroll_direction(0, -amount, call))]


def _hscroll(call: Call) -> list[Operation]:
    given = bind(call, ("clicks", "x", "y", *_PACE))
    amount = number_of(given.get("clicks"), call)  # above 0: right
    return [_scrolled(call, given, scroll_direction(amount, 0, call))]


def _scrolled(call: Call, given: dict[str, Any], direction: str) -> Operation:
    return Operation(Action("scroll", direction=direction, point=_place(given, call)), call.code)


def _write(call: Call) -> list[Operation]:
    given = bind(call, ("message", "interval", "logScreenshot", "_pause"))
    return [Operation(Action("type", content=text_of(given, "message", call)), call.code)]


def _press(call: Call) -> list[Operation]:
    given = bind(call, ("keys", "presses", "interval", "logScreenshot", "_pause"))
    keys = given.get("keys")
    single = [key_names([key], call) for key in ([keys] if isinstance(keys, str) else _listed(keys, call))]
    presses = number_of(given.get("presses", 1), call)
    if presses < 1:
        raise Unusable("code not in the vocabulary", call.code[:120])
    rounds = int(min(presses, MOST_REPEATS))
    operations = [Operation(Action("hotkey", key=key), call.code) for _ in range(rounds) for key in single]
    if presses > MOST_REPEATS:
        operations[-1] = replace(operations[-1], repair=CAPPED)
    return operations


def _hotkey(call: Call) -> list[Operation]:
    """Three spellings: `keys=[…]`, one list, several strings."""
    rest = [name for name in call.kwargs if name not in ("keys", "interval")]
    if rest or (call.args and "keys" in call.kwargs):
        raise Unusable("code has unknown arguments", call.code[:120])
    keys = call.kwargs.get("keys", call.args)
    if len(keys) == 1 and isinstance(keys[0], (list, tuple)):
        keys = keys[0]
    return [
        Operation(
            Action("hotkey", key=key_names([keys] if isinstance(keys, str) else _listed(keys, call), call)), call.code
        )
    ]


def _listed(keys: Any, call: Call) -> list[Any]:
    if not isinstance(keys, (list, tuple)) or not keys:
        raise Unusable("argument missing", f"the keys of {call.code[:120]}")
    return list(keys)


def _wait(call: Call) -> list[Operation]:
    return [Operation(Action("wait"), call.code)]


def _terminate(call: Call) -> list[Operation]:
    status = bind(call, ("status",)).get("status")
    if status == "success":
        return [Operation(Action("finished"), call.code)]
    if status == "failure":
        return [Operation(Action("call_user"), call.code, {"outcome": "failed"})]
    raise Unusable("code not in the vocabulary", call.code[:120])


_CALLS: dict[str, Callable[[Call], list[Operation]]] = {
    "pyautogui.click": _click,
    "pyautogui.doubleClick": _clicks(2, "left"),
    "pyautogui.rightClick": _clicks(1, "right"),
    "pyautogui.middleClick": _clicks(1, "middle"),
    **dict.fromkeys(("pyautogui.tripleClick", "computer.tripleClick", "computer.triple_click"), _clicks(3, "left")),
    "pyautogui.moveTo": _move,
    "pyautogui.dragTo": _drag,
    **dict.fromkeys(("pyautogui.scroll", "pyautogui.vscroll"), _scroll),
    "pyautogui.hscroll": _hscroll,
    **dict.fromkeys(("pyautogui.write", "pyautogui.typewrite"), _write),
    "pyautogui.press": _press,
    "pyautogui.hotkey": _hotkey,
    **dict.fromkeys(("computer.wait", "pyautogui.sleep", "time.sleep"), _wait),
    "computer.terminate": _terminate,
}
