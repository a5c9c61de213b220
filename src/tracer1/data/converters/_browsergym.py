"""BrowserGym calls on a page's elements to actions (GUI data, section A.5). An element is named by its `bid`; no place is known.

It knows nothing about records. The functions are those of `browsergym/core/action/functions.py` (ServiceNow/BrowserGym).
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tracer1.data.converters._code import (
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
from tracer1.schema import Action

_KEYS = {"control": "ctrl", "controlormeta": "ctrl", "escape": "esc"} | {
    f"arrow{side}": side for side in ("up", "down", "left", "right")
}  # Playwright's names to those of the other desktop data
_BUTTONS = {"left": "click", "right": "right_single"}
_TARGET = re.compile(r"""\w+(?: (?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))?""")


def read_operations(code: str) -> list[Operation]:
    """What a recorded step does, in order; the meta of an operation holds the `bid` that it acts on.

    Raises:
        Unusable: Code that cannot be read or has no action here; with `whole` where the trajectory is to be dropped.
    """
    return tidy(operations_of(code, _CALLS))


def target_text(tree: str, bid: str) -> str:
    """What an accessibility tree calls an element, e.g. `button 'Search'`; empty where it lacks it."""
    mark = f"[{bid}] "
    place = tree.find(mark)
    while place >= 0 and tree[tree.rfind("\n", 0, place) + 1 : place].strip():
        place = tree.find(mark, place + 1)  # it stood within a name
    found = _TARGET.match(tree, place + len(mark)) if place >= 0 else None
    return found[0] if found else ""


def _bid(given: dict[str, Any], call: Call, name: str = "bid") -> dict[str, str]:
    value = given.get(name)
    return {name: str(value)} if isinstance(value, int) else {name: text_of(given, name, call)}


def _on(kind: str) -> Callable[[Call], list[Operation]]:
    """A function of one element that is one action."""

    def read(call: Call) -> list[Operation]:
        return [Operation(Action(kind), call.code, _bid(bind(call, ("bid",)), call))]

    return read


def _click(call: Call) -> list[Operation]:
    given = bind(call, ("bid", "button", "modifiers"))
    meta: dict[str, Any] = _bid(given, call)
    if given.get("modifiers"):
        meta["modifiers"] = key_names(given["modifiers"], call)
    return [Operation(Action(_button(given, call)), call.code, meta)]


def _double_click(call: Call) -> list[Operation]:
    [operation] = _click(call)
    if operation.action.action_type != "click":
        raise Unusable("code not in the vocabulary", call.code[:120])
    return [replace(operation, action=Action("left_double"))]


def _mouse_click(call: Call) -> list[Operation]:
    given = bind(call, ("x", "y", "button"))
    return [Operation(Action(_button(given, call)), call.code, _pixels(given, call, "x", "y"))]


def _button(given: dict[str, Any], call: Call) -> str:
    button = given.get("button", "left")
    if button == "middle":
        raise Unusable("middle click", call.code[:120], whole=True)
    if not isinstance(button, str) or button not in _BUTTONS:
        raise Unusable("code not in the vocabulary", call.code[:120])
    return _BUTTONS[button]


def _mouse(kind: str, *names: str) -> Callable[[Call], list[Operation]]:
    """A function of places in pixels of a page whose size is not told: the places go to the meta."""

    def read(call: Call) -> list[Operation]:
        given = bind(call, (*names, "button"))
        if _button(given, call) != "click":
            raise Unusable("code not in the vocabulary", call.code[:120])
        return [Operation(Action(kind), call.code, _pixels(given, call, *names))]

    return read


def _pixels(given: dict[str, Any], call: Call, *names: str) -> dict[str, Any]:
    return {"pixels": [number_of(given.get(name), call) for name in names]}


def _fill(call: Call) -> list[Operation]:
    given = bind(call, ("bid", "value"))
    return [Operation(Action("type", content=text_of(given, "value", call)), call.code, _bid(given, call))]


def _keyboard_type(call: Call) -> list[Operation]:
    return [Operation(Action("type", content=text_of(bind(call, ("text",)), "text", call)), call.code)]


def _select(call: Call) -> list[Operation]:
    given = bind(call, ("bid", "options"))
    options = given.get("options")
    chosen = [options] if isinstance(options, str) else options
    if not isinstance(chosen, (list, tuple)) or not chosen or not all(isinstance(option, str) for option in chosen):
        raise Unusable("argument missing", f"the options of {call.code[:120]}")
    return [Operation(Action("select", content=", ".join(chosen)), call.code, _bid(given, call))]


def _clear(call: Call) -> list[Operation]:
    meta = _bid(bind(call, ("bid",)), call)
    return [Operation(Action("hotkey", key=key), call.code, meta) for key in ("ctrl a", "delete")]


def _press(call: Call) -> list[Operation]:
    given = bind(call, ("bid", "key_comb"))
    return [Operation(_hotkey(text_of(given, "key_comb", call), call), call.code, _bid(given, call))]


def _keyboard_press(call: Call) -> list[Operation]:
    return [Operation(_hotkey(text_of(bind(call, ("key",)), "key", call), call), call.code)]


def _hotkey(combination: str, call: Call) -> Action:
    names = key_names([combination], call).split()
    return Action("hotkey", key=" ".join(_KEYS.get(name, name) for name in names))


def _scroll(call: Call) -> list[Operation]:
    given = bind(call, ("delta_x", "delta_y"))
    right, down = (number_of(given.get(name), call) for name in ("delta_x", "delta_y"))
    return [Operation(Action("scroll", direction=scroll_direction(right, down, call)), call.code)]


def _drag(call: Call) -> list[Operation]:
    given = bind(call, ("from_bid", "to_bid"))
    return [Operation(Action("drag"), call.code, _bid(given, call, "from_bid") | _bid(given, call, "to_bid"))]


def _goto(call: Call) -> list[Operation]:
    return [Operation(Action("goto", content=text_of(bind(call, ("url",)), "url", call)), call.code)]


def _keys(key: str) -> Callable[[Call], list[Operation]]:
    """What a browser does without a page is the key that does it."""

    def read(call: Call) -> list[Operation]:
        bind(call, ())
        return [Operation(Action("hotkey", key=key), call.code)]

    return read


def _tab_focus(call: Call) -> list[Operation]:
    index = int(number_of(bind(call, ("index",)).get("index"), call))
    if not 0 <= index < 8:  # ctrl 9 is the last tab, whichever that is
        raise Unusable("code not in the vocabulary", call.code[:120])
    return [Operation(Action("hotkey", key=f"ctrl {index + 1}"), call.code)]


def _noop(call: Call) -> list[Operation]:
    bind(call, ("wait_ms",))
    return [Operation(Action("wait"), call.code)]


def _message(call: Call) -> list[Operation]:
    return [Operation(Action("finished", content=text_of(bind(call, ("text",)), "text", call)), call.code)]


def _infeasible(call: Call) -> list[Operation]:
    reason = text_of(bind(call, ("reason",)), "reason", call)
    return [Operation(Action("call_user", content=reason), call.code, {"outcome": "failed"})]


_CALLS: dict[str, Callable[[Call], list[Operation]]] = {
    "click": _click,
    "dblclick": _double_click,
    "fill": _fill,
    "select_option": _select,
    **dict.fromkeys(("hover", "focus"), _on("hover")),
    **dict.fromkeys(("check", "uncheck"), _on("click")),
    "clear": _clear,
    "press": _press,
    "keyboard_press": _keyboard_press,
    **dict.fromkeys(("keyboard_type", "keyboard_insert_text"), _keyboard_type),
    "scroll": _scroll,
    "drag_and_drop": _drag,
    "mouse_click": _mouse_click,
    "mouse_dblclick": _mouse("left_double", "x", "y"),
    "mouse_move": _mouse("hover", "x", "y"),
    "mouse_drag_and_drop": _mouse("drag", "from_x", "from_y", "to_x", "to_y"),
    "goto": _goto,
    "go_back": _keys("alt left"),
    "go_forward": _keys("alt right"),
    "new_tab": _keys("ctrl t"),
    "tab_close": _keys("ctrl w"),
    "tab_focus": _tab_focus,
    "noop": _noop,
    "send_msg_to_user": _message,
    "report_infeasible": _infeasible,
}
