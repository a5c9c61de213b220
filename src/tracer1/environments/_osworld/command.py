"""Our Action -> what `DesktopEnv.step` takes in the action space "pyautogui": WAIT, DONE, FAIL, or a line of Python.

It knows no task and no machine. The line runs on the machine behind `import pyautogui; import time; ...; ` in a fresh interpreter, so
it is simple statements, or begins with one. Three facts shape it:

- `DesktopEnv.step` rewrites `pyautogui.press('<')` and `pyautogui.typewrite('...<...')` by regular expressions, decoding escapes on
  its way. No command holds a `<`, escaped or not, so nothing is rewritten, not even where the typed text is such a line itself.
- PyAutoGUI types `<` as `>` on X11 (asweigart/pyautogui, issue 198): here, too, `<` is shift and comma.
- PyAutoGUI skips every character that is not ASCII: such characters are bound to unused keys of the X server for a moment and
  pressed, as xdotool does. The clipboard is left alone: tasks look into it, and terminals paste by other keys.
"""

import re
from collections.abc import Callable, Iterator

from tracer1.environments._foreign import ImpossibleAction
from tracer1.schema import Action, Point

WAIT, DONE, FAIL = "WAIT", "DONE", "FAIL"
WHEEL = 5  # clicks of one scroll: about a third of a 1080 pixels high window
LONGEST = 20_000  # characters of one `type`: what is typed within the 90 s that the server gives a command
LONGEST_FOREIGN = 1_000  # of them not ASCII
LONGEST_PROGRAM = 120_000  # bytes: Linux lets one argument of a program have 128 KiB
_TYPING = 30.0  # seconds, at most, of the pauses between the characters: the server gives a command 90
_PAUSE = 0.02  # between two characters

# Ours and what models call them -> PyAutoGUI's names that its X11 half knows
_NAMES = (
    "enter", "tab", "space", "backspace", "delete", "esc", "home", "end", "pageup", "pagedown", "left", "right", "up", "down",
    "shift", "ctrl", "alt", "win", "insert", "printscreen", "pause", "capslock", "numlock", "scrolllock", "apps",
)  # fmt: skip
KEYS = {
    **{name: name for name in _NAMES},
    **{f"f{number}": f"f{number}" for number in range(1, 25)},
    **dict.fromkeys(("return", "kp_enter"), "enter"),
    **dict.fromkeys(("escape",), "esc"),
    **dict.fromkeys(("del",), "delete"),
    **dict.fromkeys(("ins",), "insert"),
    **dict.fromkeys(("control", "ctrl_l", "control_l", "ctrlleft"), "ctrl"),
    **dict.fromkeys(("ctrl_r", "control_r", "ctrlright"), "ctrlright"),
    **dict.fromkeys(("option", "alt_l", "altleft"), "alt"),
    **dict.fromkeys(("alt_r", "altright", "altgr"), "altright"),
    **dict.fromkeys(("shift_l", "shiftleft"), "shift"),
    **dict.fromkeys(("shift_r", "shiftright"), "shiftright"),
    **dict.fromkeys(("super", "meta", "cmd", "command", "windows", "winleft", "super_l"), "win"),
    **dict.fromkeys(("page_up", "pgup", "prior"), "pageup"),
    **dict.fromkeys(("page_down", "pgdn", "pgdown", "next"), "pagedown"),
    **{f"arrow{side}": side for side in ("left", "right", "up", "down")},
    **{f"{side}arrow": side for side in ("left", "right", "up", "down")},
    **{f"arrow_{side}": side for side in ("left", "right", "up", "down")},
    **dict.fromkeys(("print", "prtsc", "prtscr", "print_screen"), "printscreen"),
    **dict.fromkeys(("caps_lock",), "capslock"),
    **dict.fromkeys(("menu",), "apps"),
    **dict.fromkeys(("spacebar",), "space"),
    **{"plus": "+", "minus": "-", "equal": "=", "comma": ",", "period": ".", "slash": "/", "backslash": "\\"},
}
_WHEELS = {"up": ("scroll", 1), "down": ("scroll", -1), "left": ("hscroll", -1), "right": ("hscroll", 1)}
_RUNS = re.compile(r"<|[\t\n -;=-~]+|[^\x00-\x7f]+")  # what is typed in one way; other control characters have no key

# `_bind` binds letters to keys that nothing is bound to and takes the last ones away, `_press` presses them. A program learns of a new
# binding by an event of its own: hence the pauses. A letter of Latin-1 is its own keysym, every other one its code + 0x1000000.
_BINDING = """pass
from Xlib import X, display as _x
from Xlib.ext.xtest import fake_input as _fake
_d = _x.Display()
_low, _high = _d.display.info.min_keycode, _d.display.info.max_keycode
_map = _d.get_keyboard_mapping(_low, _high - _low + 1)
_free = [_low + _i for _i, _syms in enumerate(_map) if not any(_syms)]
_keys = {}
def _bind(letters):
    for _key in _keys.values():
        _d.change_keyboard_mapping(_key, [[0, 0]])
    _keys.clear()
    _keys.update(zip(letters, _free))
    for _letter, _key in _keys.items():
        _code = ord(_letter)
        _d.change_keyboard_mapping(_key, [[_code if _code < 0x100 else 0x1000000 + _code] * 2])
    _d.sync()
    time.sleep(0.3)
def _press(letters):
    for _letter in letters:
        _fake(_d, X.KeyPress, _keys[_letter])
        _fake(_d, X.KeyRelease, _keys[_letter])
        _d.sync()
        time.sleep(0.02)
"""
_AT_ONCE = 8  # letters bound at the same time: keyboards have more unused keys than that


def to_command(action: Action, size: tuple[int, int]) -> str:
    """What `DesktopEnv.step` is given.

    Args:
        action: Canonical, its points in 0..1000 of the screenshot.
        size: Width and height of the screenshot in pixels, which is the screen that PyAutoGUI moves on.

    Raises:
        ImpossibleAction: a desktop has no such action, or it lacks an argument.
    """
    write = _WRITERS.get(action.action_type)
    if write is None:
        raise ImpossibleAction(f"A desktop has no action {action.action_type!r:.60}. Known: {', '.join(_WRITERS)}.")
    return write(action, size)


def to_pixel(point: Point | None, size: tuple[int, int]) -> tuple[int, int]:
    """The nearest pixel on the screen; a point outside of it is taken at the edge. Raises ImpossibleAction for no point."""
    if point is None:
        raise ImpossibleAction("The action names no place.")
    x, y = (min(max(round(v / 1000 * side), 0), side - 1) for v, side in zip(point, size, strict=True))
    return x, y


def _mouse(function: str) -> Callable[[Action, tuple[int, int]], str]:
    def write(action: Action, size: tuple[int, int]) -> str:
        x, y = to_pixel(action.point, size)
        return f"pyautogui.{function}({x}, {y})"

    return write


def _drag(action: Action, size: tuple[int, int]) -> str:
    (x1, y1), (x2, y2) = to_pixel(action.point, size), to_pixel(action.end_point, size)
    return f"pyautogui.moveTo({x1}, {y1}); pyautogui.dragTo({x2}, {y2}, duration=1.0, button='left')"


def _scroll(action: Action, size: tuple[int, int]) -> str:
    """A wheel turned up is positive and shows what is above; sideways, to the right is positive."""
    if action.direction not in _WHEELS:
        raise ImpossibleAction(f"A scroll has no direction {action.direction!r:.20}.")
    function, sign = _WHEELS[action.direction]
    x, y = to_pixel(action.point or (500.0, 500.0), size)
    return f"pyautogui.moveTo({x}, {y}); pyautogui.{function}({sign * WHEEL})"


def _hotkey(action: Action, size: tuple[int, int]) -> str:
    keys = [key for name in (action.key or "").split() for key in _keys(name)]
    if not keys:
        raise ImpossibleAction("The action names no key.")
    if len(keys) == 1:
        return f"pyautogui.press({keys[0]!a})"
    return f"pyautogui.hotkey({', '.join(map(ascii, keys))})"


def _keys(name: str) -> tuple[str, ...]:
    name = name if len(name) == 1 else name.lower()
    if name == "<":
        return "shift", ","
    if name not in KEYS and not (len(name) == 1 and " " < name <= "~"):
        raise ImpossibleAction(f"No such key: {name!r:.40}.")
    return (KEYS.get(name, name),)


def _type(action: Action, size: tuple[int, int]) -> str:
    text = (action.content or "").replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > LONGEST or sum(not letter.isascii() for letter in text) > LONGEST_FOREIGN:
        raise ImpossibleAction(f"{len(text):,} characters are too many for one action.")
    runs = _RUNS.findall(text)
    if not runs:
        raise ImpossibleAction("There is nothing to type.")
    pause = min(_PAUSE, round(_TYPING / len(text), 4))
    lines = [] if action.point is None else [_mouse("click")(action, size)]
    program = _program(lines, runs, pause)
    if len(program) > LONGEST_PROGRAM:
        raise ImpossibleAction(f"{len(program):,} bytes of keys are too many for one action.")
    return program


def _program(lines: list[str], runs: list[str], pause: float) -> str:
    if all(run.isascii() for run in runs):
        return "; ".join(lines + [_typed(run, pause) for run in runs])
    for letters, units in _groups(runs):
        lines += [f"_bind({letters!a})", *(_typed(unit, pause) for unit in units)]
    return _BINDING + "\n".join([*lines, "time.sleep(0.3)", "_bind('')"])


def _groups(runs: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The runs, those of foreign letters one by one, in groups of at most `_AT_ONCE` different letters, each with its letters."""
    letters, group = "", []
    for unit in (unit for run in runs for unit in ([run] if run.isascii() else run)):
        if not unit.isascii() and unit not in letters:
            if len(letters) == _AT_ONCE:
                yield letters, group
                letters, group = "", []
            letters += unit
        group.append(unit)
    yield letters, group


def _typed(run: str, pause: float) -> str:
    if run == "<":
        return "pyautogui.hotkey('shift', ',')"
    return f"pyautogui.write({run!a}, interval={pause})" if run.isascii() else f"_press({run!a})"


_WRITERS: dict[str, Callable[[Action, tuple[int, int]], str]] = {
    "click": _mouse("click"),
    "left_double": _mouse("doubleClick"),
    "right_single": _mouse("rightClick"),
    "hover": _mouse("moveTo"),
    "drag": _drag,
    "scroll": _scroll,
    "type": _type,
    "hotkey": _hotkey,
    "wait": lambda action, size: WAIT,
    "finished": lambda action, size: DONE,
    "call_user": lambda action, size: FAIL,
}
