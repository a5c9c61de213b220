"""Which tools an agent is offered, and how the prompt tells them. It knows no task's content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracer1.errors import ConfigError
from tracer1.registry import nearest
from tracer1.toolbox import TOOLS
from tracer1.toolbox.acting import FINAL
from tracer1.toolbox.checking import signature
from tracer1.toolbox.gta import GTA
from tracer1.toolbox.spec import Tool
from tracer1.toolbox.toolbox import INTERPRETER

T3 = (
    "visualizer", "objectlocation", "facedetection", "segmentation", "image_generator", "image_edit", "ask_search_agent",
    "inspect_file_as_text", INTERPRETER,
)  # fmt: skip
SETS: Mapping[str, Sequence[str]] = {"t3": T3, "gta": tuple(GTA)}


@dataclass(frozen=True, slots=True)
class Offer:
    """Tools by name, `final_answer` among them, and the lines that the prompt has for the others."""

    tools: Mapping[str, Tool]
    signatures: tuple[str, ...]


def offer(names: Sequence[str], signatures: Sequence[str] = ()) -> Offer:
    """The tools of these names.

    Args:
        names: GTA's or ours.
        signatures: As the prompt has them; empty: made here. Ours as in training, by name and arguments; GTA's, which no training
            set of ours has, with what they do.

    Raises:
        ConfigError: no such tool.
    """
    tools = {name: _tool(name) for name in names if name != FINAL}
    lines = tuple(signatures) or tuple(_line(name, tool) for name, tool in tools.items())
    return Offer({**tools, FINAL: TOOLS.get(FINAL)}, lines)


def chosen(tools: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The names that a setting asks for; None: each task's own.

    Raises:
        ConfigError: no such set or tool.
    """
    if tools is None:
        return None
    if isinstance(tools, str):
        if tools not in SETS:
            raise ConfigError(
                f"tools={tools!r}: it is null (each task's own tools), {', '.join(SETS)}, or a list of names."
                f"{nearest(tools, list(SETS))}"
            )
        return tuple(SETS[tools])
    for name in tools:
        _tool(name)
    return tuple(tools)


def unknown(names: Sequence[str]) -> str:
    """The refusal for tools that there are not; empty where there are all."""
    known = {*GTA, *TOOLS.names()}
    absent = [name for name in names if name not in known]
    return f"it is to be solved with {', '.join(absent)}, which the toolbox does not have" if absent else ""


def _tool(name: str) -> Tool:
    if name in GTA:
        return GTA[name]
    if name not in TOOLS.names():
        known = [*TOOLS.names(), *GTA]
        raise ConfigError(f"There is no tool {name!r:.60}.{nearest(str(name), known)} Known: {', '.join(known)}.")
    return TOOLS.get(name)


def _line(name: str, tool: Tool) -> str:
    if name not in GTA:
        return signature(name, tool)
    return f"{signature(name, tool)}: {tool.description.rstrip('.')}. Returns {tool.returns.rstrip('.')}."
