"""What a tool is: a function with a description, a JSON Schema, a version, and what it needs. It knows no particular tool."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tracer1.sandbox import Session
    from tracer1.toolbox.backends import Backends

Schema = Mapping[
    str, Any
]  # a JSON Schema; `"format": "path"` marks a file of the workspace, `"optional": true` a parameter that may be left out


class ToolError(Exception):
    """A call that cannot succeed: the caller's mistake, or something that is not to be had here.

    Args:
        kind: unknown_tool | bad_arguments | no_file | unavailable | refused | failed | timeout.
        message: What was wrong and what would be right.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Workspace(Protocol):
    """The folder of one task; nothing outside of it can be read or written."""

    folder: Path

    def find(self, path: str) -> Path:
        """The file that the agent calls `path`; raises ToolError("no_file" | "refused")."""

    def new(self, stem: str, suffix: str) -> tuple[Path, str]:
        """A place for a new file, and the name by which the agent will call it; names are the same in every run."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a tool works with."""

    workspace: Workspace
    session: Callable[[], "Session"]  # of the episode: the sandbox's interpreter, opened when first asked for
    backends: "Backends"  # models and networks, each of them perhaps absent
    seen: Callable[[str, Mapping[str, Any], "ToolResult"], None] | None = None  # told of every call, see `Toolbox.desk`


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    description: str  # one sentence, as the planner reads it
    parameters: Mapping[str, Schema]  # in the order in which positional arguments are bound
    returns: str  # what it gives back, as the planner reads it
    run: Callable[..., Any]  # run(desk, **arguments) -> plain JSON; paths arrive as existing `Path`s
    version: int = 1  # raised whenever it answers otherwise: what was cached before is then forgotten
    cached: bool = True  # the same call on the same files gives the same answer
    backend: str = ""  # what it cannot do without: a role of `backends.Backends`
    also: str = ""  # roles that take part where they are there, separated by blanks
    # it runs code of the agent: in an interpreter of its own that ends with the call, so that nothing is left behind
    runs_code: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """Parameters that a call must give."""
        return tuple(name for name, schema in self.parameters.items() if not schema.get("optional"))


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What became of a call."""

    value: Any = None  # plain JSON
    error: str = ""
    kind: str = ""  # of the error, see ToolError; empty when it succeeded
    files: tuple[str, ...] = ()  # new files of the workspace, as the agent calls them
    cached: bool = False
    seconds: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)  # for traces: the backend's name, tokens ...

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return not self.kind


def tool(
    description: str, parameters: Mapping[str, Schema], returns: str, **options: Any
) -> Callable[[Callable[..., Any]], Tool]:
    """Decorator that makes a Tool of its function; `options` are Tool's further fields."""

    def make(run: Callable[..., Any]) -> Tool:
        return Tool(description, parameters, returns, run, **options)

    return make


def text(description: str, optional: bool = False) -> Schema:
    """A text parameter."""
    return _schema({"type": "string"}, description, optional)


def path(description: str, optional: bool = False) -> Schema:
    """A parameter that names a file of the workspace."""
    return _schema({"type": "string", "format": "path", "minLength": 1}, description, optional)


def integer(description: str, optional: bool = False) -> Schema:
    """A whole number."""
    return _schema({"type": "integer"}, description, optional)


def number(description: str, optional: bool = False) -> Schema:
    """A number."""
    return _schema({"type": "number"}, description, optional)


def boolean(description: str, optional: bool = False) -> Schema:
    """true or false."""
    return _schema({"type": "boolean"}, description, optional)


def box(description: str, optional: bool = False) -> Schema:
    """[x1, y1, x2, y2] in pixels."""
    four = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    return _schema(four, description, optional)


def boxes(description: str, optional: bool = False) -> Schema:
    """A list of boxes, or null."""
    four = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    return _schema({"type": ["array", "null"], "items": four}, description, optional)


def anything(description: str, optional: bool = False) -> Schema:
    """Any JSON value."""
    return _schema({}, description, optional)


def _schema(kind: Mapping[str, Any], description: str, optional: bool) -> Schema:
    return {**kind, "description": description, **({"optional": True} if optional else {})}
