"""Where model-written Python runs: sessions whose state persists, with limits on everything, cut off from the machine.

A sandbox is a class with `session(...)` (see `Sandbox`), registered under its file's name. It knows nothing about tools, steps or
rewards: code that calls a tool gets its answer from the caller's function, outside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from tracer1.errors import ConfigError
from tracer1.registry import Registry, nearest

SANDBOXES = Registry("sandbox", "tracer1.sandbox")

ToolCall = Callable[
    [str, Mapping[str, Any]], Any
]  # (name, arguments) -> plain JSON value; ToolRefused becomes Python's exception


class ToolRefused(Exception):
    """Raised by a ToolCall: the code that called the tool sees a RuntimeError with this message and may catch it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run of code may use.

    Args:
        wall_s, cpu_s: Seconds of one run, tool calls excluded from `wall_s`.
        memory_mb: Address space of a process, in MiB.
        processes, open_files: Counts.
        file_mb, folder_mb: Size of one written file, and of all that is written, in MiB.
        output_kb: Printed text that is kept, in KiB: its beginning and its end.
    """

    wall_s: float = 10.0
    cpu_s: float = 10.0
    memory_mb: int = 2048
    processes: int = 16
    open_files: int = 64
    file_mb: int = 32
    folder_mb: int = 256
    output_kb: int = 20


def checked_limits(limits: Mapping[str, Any] | None, where: str) -> Limits:
    """Limits of a configuration; what it does not name has its default.

    Args:
        limits: By the names of `Limits`.
        where: What holds them, for messages.

    Raises:
        ConfigError: no such limit, or no number above 0.
    """
    known = [field.name for field in fields(Limits)]
    for name, value in (limits or {}).items():
        if name not in known:
            raise ConfigError(f"{where} has no setting {name!r}.{nearest(str(name), known)} Known: {', '.join(known)}.")
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            raise ConfigError(f"{where}.{name} is {value!r:.60}; it must be a number above 0.")
    return Limits(**(limits or {}))


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run of code gave."""

    output: str = ""  # printed text, cut in the middle to `output_kb`
    error: str = ""  # "ZeroDivisionError: division by zero (line 3)"; empty when it ran through
    kind: str = ""  # of the error: exception | timeout | memory | output | killed; empty when it ran through
    value: Any = None  # of `Session.call`: what the function returned, as plain JSON
    seconds: float = 0.0
    cut: bool = False  # some of the output was left out

    @property
    def ok(self) -> bool:
        """Whether it ran through."""
        return not self.kind


class Session(Protocol):
    """One interpreter whose names persist from run to run. Its working folder is the `folder` of `Sandbox.session`."""

    def run(self, code: str, limits: Limits | None = None) -> Ran:
        """Runs a block. Whatever the code does is in `Ran`; after a timeout or a kill the names are lost, and the next run
        starts a new interpreter. Raises SandboxFault only when the sandbox itself failed."""

    def call(self, module: str, function: str, arguments: Mapping[str, Any], limits: Limits | None = None) -> Ran:
        """Calls `function` of an installed `module` inside the sandbox; arguments and result are plain JSON."""

    def close(self) -> None:
        """Ends every process of the session."""


class Sandbox(Protocol):
    """Makes sessions; safe to use from several threads."""

    kind: str  # bubblewrap | docker | http | unsafe

    def session(
        self, folder: Path, tools: Mapping[str, Sequence[str]] | None = None, call: ToolCall | None = None
    ) -> Session:
        """A session that sees `folder`, and of the rest of the machine only a read-only Python.

        Args:
            folder: Its working folder; files that the code writes are there afterwards.
            tools: Name -> parameters in the order in which positional arguments are bound: functions that the code may call.
            call: Answers them, in the caller's process, while the session waits.
        """

    def close(self) -> None:
        """Ends every session and process."""


def open_sandbox(kind: str = "auto", limits: Limits = Limits(), **settings: Any) -> Sandbox:
    """The sandbox that a configuration names.

    Args:
        kind: bubblewrap | docker | http | unsafe, or auto: bubblewrap where it works, else docker where a daemon answers, else none.
        limits: Of every session.
        settings: Keyword arguments of that kind's class; auto takes none.

    Raises:
        ConfigError: no such kind or setting.
        MissingDependency: it does not work here; the message says what to install or to allow.
    """
    from tracer1.sandbox import _choice  # later than the names above, which it needs

    return _choice.open_sandbox(kind, limits, **settings)
