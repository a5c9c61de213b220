"""A PyAutoGUI, and the part of Xlib that is needed beside it, which note what they are asked to do. Commands run as on the machine."""

import sys
import types

KEYS = {
    "enter", "tab", "space", "backspace", "delete", "esc", "home", "end", "pageup", "pagedown", "left", "right", "up", "down",
    "shift", "ctrl", "alt", "win", "insert", "printscreen", "pause", "capslock", "numlock", "scrolllock", "apps", "shiftright",
    "ctrlright", "altright", *(f"f{number}" for number in range(1, 25)),
}  # fmt: skip
PREFIX = "import pyautogui; import time; pyautogui.FAILSAFE = False; {command}"  # of OSWorld's PythonController


class Desk:
    """What happened: `text` as it comes out on the screen, `events` of the mouse and of single keys."""

    def __init__(self):
        self.text, self.events, self.bound, self.at = "", [], {}, None

    def key(self, name):
        if len(name) > 1 and name not in KEYS:
            return  # as PyAutoGUI does: nothing, and no word
        self.events.append(name)

    def write(self, message, interval=0.0):
        for letter in message:
            if letter == "<":
                self.text += ">"  # on X11
            elif letter.isascii():
                self.text += letter

    def hotkey(self, *keys):
        if keys == ("shift", ","):
            self.text += "<"
        self.events.append("+".join(keys))

    def bind(self, key, symbols):
        code = symbols[0][0]
        self.bound[key] = "" if code == 0 else chr(code if code < 0x100 else code - 0x1000000)

    def fake(self, display, kind, key):
        if kind == "press":
            self.text += self.bound[key]


def run(command, monkeypatch) -> Desk:
    """Runs a command behind the machine's own prefix."""
    desk = Desk()
    mouse = {
        name: lambda *a, _name=name, **k: desk.events.append((_name, *a))
        for name in ("click", "doubleClick", "rightClick", "moveTo", "dragTo", "scroll", "hscroll")
    }
    gui = types.SimpleNamespace(press=desk.key, write=desk.write, hotkey=desk.hotkey, **mouse)
    info = types.SimpleNamespace(min_keycode=8, max_keycode=255)

    class Display:
        display = types.SimpleNamespace(info=info)

        def get_keyboard_mapping(self, first, count):
            return [(0, 0) if key % 20 == 0 else (key, key) for key in range(first, first + count)]

        def change_keyboard_mapping(self, key, symbols):
            assert key % 20 == 0, "a key that is in use"
            desk.bind(key, symbols)

        def sync(self):
            pass

    x = types.SimpleNamespace(KeyPress="press", KeyRelease="release")
    for name, module in {
        "pyautogui": gui,
        "time": types.SimpleNamespace(sleep=lambda seconds: None),
        "Xlib": types.SimpleNamespace(X=x, display=types.SimpleNamespace(Display=Display)),
        "Xlib.ext": types.SimpleNamespace(),
        "Xlib.ext.xtest": types.SimpleNamespace(fake_input=desk.fake),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    program = PREFIX.format(command=command)
    assert len(program.encode()) < 128 * 1024, "more than one argument of a program may have"
    exec(compile(program, "<machine>", "exec"), {})
    monkeypatch.undo()
    assert not any(desk.bound.values()), "keys stay bound"
    return desk
