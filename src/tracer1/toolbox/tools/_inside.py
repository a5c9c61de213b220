"""How a tool has its work done in the sandbox. It knows no particular tool."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer1.sandbox import Limits
from tracer1.toolbox.spec import Desk, ToolError

PATIENT = Limits(wall_s=120, cpu_s=120)  # of one call that opens a file: ten scanned pages take a while


def inside(desk: Desk, function: str, limits: Limits | None = PATIENT, **arguments: Any) -> Any:
    """What a function of `toolbox/inside/` answers, run in the episode's sandbox.

    Args:
        desk: The tool's.
        function: `module.function`, e.g. `images.crop`; it is decorated with `inside.answering`.
        limits: Of the call.
        arguments: Plain JSON; a `Path` becomes the name that the sandbox knows it by.

    Raises:
        ToolError: it could not be done, or took more than it may.
    """
    module, name = function.split(".")
    plain = {key: _plain(desk, value) for key, value in arguments.items()}
    ran = desk.session().call(f"tracer1.toolbox.inside.{module}", name, plain, limits)
    if not ran.ok:
        kind = "timeout" if ran.kind == "timeout" else "failed"
        raise ToolError(kind, ran.error or f"It was ended: {ran.kind}.")
    answer: Mapping[str, Any] = ran.value
    if "kind" in answer:
        raise ToolError(answer["kind"], answer["message"])
    return answer["value"]


def picture(desk: Desk, stem: str, function: str, **arguments: Any) -> str:
    """The name of a new PNG in the workspace that a function of `toolbox/inside/` has written to its argument `out`."""
    out, name = desk.workspace.new(stem, ".png")
    inside(desk, function, out=out, **arguments)
    return name


def _plain(desk: Desk, value: Any) -> Any:
    """A path as seen from the session's folder, which is the workspace's; everything else as it is."""
    if isinstance(value, Path):
        return str(value.resolve().relative_to(desk.workspace.folder.resolve()))
    if isinstance(value, list):
        return [_plain(desk, item) for item in value]
    return value
