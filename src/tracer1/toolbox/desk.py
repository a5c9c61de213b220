"""One episode at the toolbox: a folder, and interpreters that are started when first asked for. It knows no tool.

Code of the agent runs in the first interpreter; it may change whatever it finds in there, a library's functions too. So tools get
another one, of their own, which also is free while the first waits for the answer to a tool call; and a tool that runs code of the
agent gets a new one for each call.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer1.toolbox.spec import ToolError

if TYPE_CHECKING:
    from tracer1.sandbox import Sandbox, Session, ToolCall


class Interpreters:
    """What `Desk.session` is: called, it gives the agent's interpreter.

    Args:
        sandbox: Where they run; None where there is none.
        folder: Their working folder.
        tools: Name -> parameters of the functions that the agent's code may call.
        call: Answers them.
    """

    def __init__(
        self, sandbox: "Sandbox | None", folder: Path, tools: Mapping[str, Sequence[str]], call: "ToolCall"
    ) -> None:
        self._sandbox, self._folder = sandbox, folder
        self._functions = {"agent": (tools, call), "tools": ()}
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.fault: Exception | None = None  # of the infrastructure, in a tool that the agent's code called

    def __call__(self) -> "Session":
        """The agent's, whose names persist over the episode."""
        return self._of("agent")

    def of_tools(self) -> "Session":
        """The one that the agent's code never runs in."""
        return self._of("tools")

    @contextmanager
    def of_one_call(self) -> "Iterator[Callable[[], Session]]":
        """A new one, started when first asked for, that ends with the context."""
        opened = Interpreters(self._sandbox, self._folder, {}, _no_call)
        try:
            yield opened.of_tools
        finally:
            opened.close()

    def close(self) -> None:
        """Ends them; nothing starts afterwards."""
        with self._lock:
            self._closed = True
            sessions, self._sessions = [*self._sessions.values()], {}
        try:
            for session in sessions[:1]:
                session.close()
        finally:
            for session in sessions[1:]:
                session.close()

    def _of(self, whose: str) -> "Session":
        with self._lock:
            assert not self._closed, "the episode is over"
            if whose not in self._sessions:
                if self._sandbox is None:
                    raise ToolError(
                        "unavailable", "This tool needs a sandbox, and there is none; set executor.sandbox."
                    )
                self._sessions[whose] = self._sandbox.session(self._folder, *self._functions[whose])
            return self._sessions[whose]


def _no_call(name: str, arguments: Mapping[str, Any]) -> Any:
    raise AssertionError("code without tools called one")
