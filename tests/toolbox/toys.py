"""Toys for the toolbox's tests: tools of a few lines, and a sandbox that runs code right here."""

import contextlib
import importlib
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tracer1.errors import ExecutorError
from tracer1.sandbox import Limits, Ran
from tracer1.toolbox.backends import PixelBox
from tracer1.toolbox.spec import Desk, Tool, ToolError, box, integer, number, path, text, tool
from tracer1.toolbox.workspace import write_new


class ToySandbox:
    """Runs code in this process: for code that the tests wrote themselves."""

    kind = "toy"

    def __init__(self) -> None:
        self.opened: list[ToySession] = []

    def session(self, folder: Path, tools=None, call=None) -> "ToySession":
        self.opened.append(ToySession(folder, tools or {}, call))
        return self.opened[-1]

    def close(self) -> None: ...


class ToySession:
    """One namespace."""

    def __init__(self, folder: Path, tools: Mapping[str, Any], call: Callable | None) -> None:
        self.folder, self.closed, self.call_outside = folder, False, call
        self.names: dict[str, Any] = {"FOLDER": folder}
        for name, parameters in tools.items():
            self.names[name] = self._function(name, parameters, call)

    @staticmethod
    def _function(name, parameters, call):
        return lambda *args, **words: call(name, {**dict(zip(parameters, args, strict=False)), **words})

    def run(self, code: str, limits: Limits | None = None) -> Ran:
        printed: list[str] = []
        self.names["print"] = lambda *values: printed.append(" ".join(map(str, values)))
        try:
            exec(code, self.names)
        except Exception as error:
            last = traceback.format_exception_only(error)[-1].strip()
            return Ran("\n".join(printed), last, "exception")
        return Ran("\n".join(printed))

    def call(self, module, function, arguments, limits=None) -> Ran:
        try:
            with contextlib.chdir(self.folder):
                return Ran(value=getattr(importlib.import_module(module), function)(**arguments))
        except Exception as error:
            return Ran(error=f"{type(error).__name__}: {error}", kind="exception")

    def close(self) -> None:
        self.closed = True


class Counting:
    """Counts how often a tool ran; a tool of its own for every test."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.runs, self.seconds = 0, seconds
        self._lock = threading.Lock()

    def add(self) -> Tool:
        @tool("Adds two numbers", {"a": number("the first"), "b": number("the second")}, returns="their sum")
        def add(desk: Desk, a: float, b: float) -> float:
            self.hit()
            return a + b

        return add

    def shout(self) -> Tool:
        @tool("Writes a text in capitals", {"file_path": path("a text"), "times": integer("how often", True)}, "a path")
        def shout(desk: Desk, file_path: Path, times: int = 1) -> dict[str, str]:
            self.hit()
            place, name = desk.workspace.new("shout", ".txt")
            write_new(place, file_path.read_bytes().upper() * times)
            return {"path": name, "said": f"written to {name}."}

        return shout

    def hit(self) -> None:
        with self._lock:
            self.runs += 1
        time.sleep(self.seconds)


@tool("Runs code", {"code": text("Python")}, returns="what it printed", cached=False)
def toy_interpreter(desk: Desk, code: str) -> str:
    ran = desk.session().run(code)
    if not ran.ok:
        raise ToolError("failed", ran.error)
    return ran.output


@tool("Cuts a part out", {"image_path": path("an image"), "box": box("what to cut out")}, returns="a path")
def toy_crop(desk: Desk, image_path: Path, box: PixelBox) -> str:
    return f"{image_path.name} {box}"


@tool(
    "Asks a model", {"question": text("what"), "image_path": path("an image")}, returns="the answer", backend="vision"
)
def toy_look(desk: Desk, question: str, image_path: Path) -> str:
    return desk.backends.need("vision").ask(question, [image_path.read_bytes()])


@tool("Is out of order", {}, returns="nothing")
def toy_dead(desk: Desk) -> None:
    raise ExecutorError("the server is gone")


@tool("Has a bug", {}, returns="nothing")
def toy_bug(desk: Desk) -> None:
    raise ZeroDivisionError("a bug")


@tool("Returns a set", {}, returns="a set")
def toy_set(desk: Desk) -> Any:
    return {1, 2}
