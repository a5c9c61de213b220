"""A sandbox without walls, for tests of what runs behind the walls of a real one, and pictures and files to try it on."""

import contextlib
import importlib
import io
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from tracer1.errors import MissingDependency
from tracer1.sandbox import Limits, Ran, open_sandbox
from tracer1.toolbox.backends import Backends
from tracer1.toolbox.spec import ToolResult
from tracer1.toolbox.toolbox import Toolbox

DATA = Path(__file__).parents[3] / "shared" / "data"


class LocalSandbox:
    """Calls the functions right here, with the session's folder as the working folder."""

    kind = "local"

    def session(self, folder: Path, tools=None, call=None) -> "LocalSession":
        return LocalSession(folder)

    def close(self) -> None: ...


class LocalSession:
    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, {}
        self.limits: list[Limits | None] = []

    def run(self, code: str, limits: Limits | None = None) -> Ran:
        printed = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed):
            try:
                exec(code, self.names)
            except TimeoutError:
                return Ran(printed.getvalue(), "It ran longer than 10 s.", "timeout")
            except Exception as error:
                return Ran(printed.getvalue(), traceback.format_exception_only(error)[-1].strip(), "exception")
        return Ran(printed.getvalue())

    def call(self, module: str, function: str, arguments: Mapping[str, Any], limits: Limits | None = None) -> Ran:
        self.limits.append(limits)
        with contextlib.chdir(self.folder):
            try:
                return Ran(value=getattr(importlib.import_module(module), function)(**arguments))
            except MemoryError:
                return Ran(error="MemoryError", kind="memory")

    def close(self) -> None: ...


class Bench:
    """A desk in a folder, at which tools are called."""

    def __init__(self, folder: Path, tools=None, backends: Backends | None = None, sandbox=None) -> None:
        self.folder = folder
        self.toolbox = Toolbox(tools, sandbox=sandbox or LocalSandbox(), backends=backends)

    def call(self, name: str, **arguments: Any) -> ToolResult:
        with self.toolbox.desk(self.folder) as desk:
            return self.toolbox.call(desk, name, arguments)

    def value(self, name: str, **arguments: Any) -> Any:
        """The value of a call that must succeed."""
        result = self.call(name, **arguments)
        assert result.ok, result.error
        return result.value

    def refusal(self, name: str, **arguments: Any) -> tuple[str, str]:
        """Kind and message of a call that must fail."""
        result = self.call(name, **arguments)
        assert not result.ok, result.value
        return result.kind, result.error

    def image(self, name: str) -> Image.Image:
        with Image.open(self.folder / name) as image:
            return image.copy()


def need_tesseract() -> None:
    """Skips where tesseract is not installed; in CI that is a failure."""
    if shutil.which("tesseract") is None:
        missing = "tesseract is not installed; apt-get install tesseract-ocr"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {missing}")
        pytest.skip(missing)


def need_data(*parts: str) -> Path:
    """A path below the shared data; skips where it is absent."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def written(lines: list[str], size: int = 32, width: int = 700) -> Image.Image:
    """A white picture with lines of black text."""
    image = Image.new("RGB", (width, (len(lines) + 1) * size * 2), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for number, line in enumerate(lines):
        draw.text((size, size + number * size * 2), line, fill="black", font=font)
    return image


@contextlib.contextmanager
def real_sandbox() -> Iterator[Any]:
    """The sandbox of this machine; skips where it has none. In CI that is a failure."""
    try:
        sandbox = open_sandbox("bubblewrap")
    except MissingDependency as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a sandbox. {missing}")
        pytest.skip(str(missing))
    yield sandbox
    sandbox.close()
