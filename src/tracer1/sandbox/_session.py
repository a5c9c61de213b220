"""A session: sends blocks to an interpreter, answers its tool calls, keeps its time, and says what became of a block.

It knows nothing of how an interpreter is started or walled in: see `Link`.
"""

import contextlib
import dataclasses
import logging
import os
import secrets
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer1.errors import SandboxFault
from tracer1.sandbox import Limits, Ran, ToolCall, ToolRefused
from tracer1.sandbox._inside.plain import plain
from tracer1.sandbox._link import Deaf, Link, Lost
from tracer1.sandbox._printed import Printed
from tracer1.sandbox._watch import Watch

log = logging.getLogger(__name__)

_TICK_S = 0.05  # between two looks at what the processes use
_HELLO_S = 60.0  # how long a new interpreter may take: a container, a busy machine
_MARK_S = 2.0  # how long output may be later than the result
_MOST_OUTPUT = 64 << 20  # bytes: who prints more is stopped

Tools = Mapping[str, Sequence[str]]


class PipeSession:
    """A session over a `Link`.

    Args:
        connect: Starts an interpreter.
        folder: What the code may write to, on this side of the border.
        limits: Of the session; a run may have lower ones, and any `wall_s`, `cpu_s` and `output_kb`.
        tools, call: See `Sandbox.session`.
    """

    def __init__(
        self, connect: Callable[[], Link], folder: Path, limits: Limits, tools: Tools | None, call: ToolCall | None
    ) -> None:
        self._connect, self._folder, self._limits = connect, folder, limits
        self._tools = {name: list(parameters) for name, parameters in (tools or {}).items()}
        self._answer = call
        self._link: Link | None = None
        self._watch: Watch | None = None
        self._turn = (
            threading.Lock()
        )  # one request at a time; free while a tool runs, which may itself need this session
        self._fresh = True  # no block has run in this interpreter yet: it can be replaced without loss
        self._closed = False

    def run(self, code: str, limits: Limits | None = None) -> Ran:
        """See `Session.run`."""
        return self._request({"do": "run", "code": code}, limits or self._limits)

    def call(self, module: str, function: str, arguments: Mapping[str, Any], limits: Limits | None = None) -> Ran:
        """See `Session.call`."""
        request = {"do": "call", "module": module, "function": function, "arguments": plain(arguments)}
        return self._request(request, limits or self._limits)

    def close(self) -> None:
        """Ends every process of the session."""
        self._closed = True
        with self._turn:
            self._drop()

    def __enter__(self) -> "PipeSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, request: dict[str, Any], limits: Limits) -> Ran:
        with self._turn:
            if self._closed:
                raise SandboxFault("This session of the sandbox is closed; open another.")
            for attempt in (1, 2):
                try:
                    ran = self._attempt(request, limits)
                    self._fresh = False
                    return ran
                except Lost as lost:
                    self._drop()
                    if attempt == 2 or not self._fresh:
                        raise SandboxFault(
                            f"The sandbox failed under a run, which has no result: {lost}. Run it again; if it happens "
                            f"again, look at this machine's memory and its kernel log."
                        ) from lost
                    log.warning("the sandbox failed (%s); it is started again and the run repeated", lost)
        raise AssertionError

    def _attempt(self, request: dict[str, Any], limits: Limits) -> Ran:
        link = self._link
        if link is None:
            link = self._link = self._connect()
            self._watch = Watch(link, self._folder)
            self._fresh = True
            link.send({"do": "start", "tools": self._tools, "limits": dataclasses.asdict(self._limits)})
        try:
            return _Exchange(self, link, self._watch, limits).run(request)
        finally:
            if link.reason or link.gone():
                self._drop()

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.reason = link.reason or "killed"  # for a block that waits for a tool which has closed the session
            with contextlib.suppress(Lost):
                link.close()

    def tool(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a tool call of the code; other exceptions than ToolRefused are the host's, and pass."""
        if self._answer is None or name not in self._tools:
            return {"refused": f"There is no tool {name!r} here."}
        self._fresh = False  # it may have acted: never a second time without asking
        self._turn.release()
        try:
            return {"value": self._answer(name, arguments)}
        except ToolRefused as refused:
            return {"refused": str(refused)}
        finally:
            self._turn.acquire()


class _Broken(Exception):
    """Bytes that no interpreter of ours sends."""


class _Exchange:
    """One request and all that happens until its result."""

    def __init__(self, session: PipeSession, link: Link, watch: Watch, limits: Limits) -> None:
        self._session, self._link, self._watch, self._limits = session, link, watch, limits
        self._printed = Printed(limits.output_kb << 10)
        watch.begin(limits)
        self._mark = f"\0{secrets.token_hex(16)}\0" if link.marks else ""
        self._begin = time.monotonic()
        self._away = 0.0  # seconds spent in tools
        self._result: dict[str, Any] | None = None

    def run(self, request: dict[str, Any]) -> Ran:
        try:
            self._link.send({**request, "mark": self._mark, "limits": dataclasses.asdict(self._limits)})
            return self._listen()
        except (_Broken, Deaf) as error:
            return self._kill("killed", f"the interpreter broke its protocol: {error}")
        except BaseException:  # of the host's tool: the code waits for an answer that will not come
            self._link.reason = "killed"
            with contextlib.suppress(Lost):
                self._link.kill()
            raise

    def _listen(self) -> Ran:
        poll = select.poll()
        poll.register(self._link.read_fd, select.POLLIN)
        poll.register(self._link.output_fd, select.POLLIN)
        look = self._begin + _TICK_S
        while True:
            now = time.monotonic()
            left = self._begin + self._away + (self._limits.wall_s if self._link.greeted else _HELLO_S) - now
            if left <= 0 and not self._link.greeted:
                raise Lost(f"no interpreter came within {_HELLO_S:g} s")
            if left <= 0:
                return self._kill("timeout", f"stopped after {self._limits.wall_s:g} s")
            if now >= look:
                if reason := self._watch.exceeded():
                    return self._kill(*reason)
                look = time.monotonic() + _TICK_S
            for fd, _ in poll.poll(1000 * max(0.0, min(left, look - now)) + 1):
                if fd == self._link.output_fd and not self._print():
                    poll.unregister(fd)
                elif fd == self._link.read_fd and not self._hear():
                    return self._ended()
            if self._printed.size > _MOST_OUTPUT:
                return self._kill("output", f"stopped after printing {_MOST_OUTPUT >> 20} MiB")
            if self._result is not None:
                return self._done()

    def _hear(self) -> bool:
        """Takes what has come; False at the end of the stream, which is the end of the interpreter."""
        alive = self._link.read()
        while self._result is None and (message := self._next()) is not None:
            kind, content = message
            if kind == "done":
                self._result = content
            elif kind == "tool":
                self._tool(**content)
                if self._link.reason:
                    return False
            elif self._link.greeted:  # code may have written it
                raise _Broken(f"a message {kind!r}")
            elif kind == "fault":
                raise Lost(str(content))
            else:
                self._link.greeted, self._begin = True, time.monotonic()  # to be started took its time, not the code's
        return alive or self._result is not None

    def _next(self) -> tuple[str, Any] | None:
        """The next message, whose content is not trusted: code may have written it."""
        try:
            if (message := self._link.inbox.pop()) is None:
                return None
            if "tool" in message:
                return "tool", {"name": str(message["tool"]), "arguments": dict(message["arguments"])}
            return ("done", dict(message["done"])) if "done" in message else next(iter(message.items()), ("", None))
        except (ValueError, TypeError, KeyError) as error:
            raise _Broken(str(error)) from error

    def _tool(self, name: str, arguments: dict[str, Any]) -> None:
        self._drain()
        before = time.monotonic()
        answer = self._session.tool(name, arguments)
        self._away += time.monotonic() - before
        if not self._link.reason:
            try:
                self._link.send(answer)
            except ValueError as error:  # too much for one message
                self._link.send({"refused": str(error)})

    def _print(self) -> bool:
        piece = self._link.printed()
        self._printed.add(piece or b"")
        return piece != b""

    def _drain(self) -> None:
        while piece := self._link.printed():
            self._printed.add(piece)

    def _await_mark(self) -> None:
        """Where output and messages travel apart, the result may be here first."""
        poll, deadline = select.poll(), time.monotonic() + _MARK_S
        poll.register(self._link.output_fd, select.POLLIN)
        while not self._printed.take_off(self._mark.encode()) and time.monotonic() < deadline:
            poll.poll(100)
            if not self._print():
                return

    def _done(self) -> Ran:
        result = self._result or {}
        self._drain()
        self._await_mark()
        if reason := self._watch.folder_exceeded():
            return self._kill(*reason)
        return self._ran(str(result.get("error", "")), str(result.get("kind", "")), result.get("value"))

    def _ended(self) -> Ran:
        self._drain()
        if self._link.reason:  # killed by a request of the tool that this one waited for
            return self._ran("the interpreter was ended during a tool call", self._link.reason)
        self._link.gone(2.0)
        if self._link.lost:
            raise Lost("the interpreter is gone, and its parent too")
        return self._ran(_how(self._link.status), "timeout" if _is(self._link.status, signal.SIGXCPU) else "killed")

    def _kill(self, kind: str, error: str) -> Ran:
        self._link.reason = kind
        self._link.kill()
        self._drain()
        return self._ran(error, kind)

    def _ran(self, error: str, kind: str, value: Any = None) -> Ran:
        seconds = time.monotonic() - self._begin - self._away
        return Ran(self._printed.text(), error, kind, value, seconds, self._printed.cut)


def _is(status: int | None, number: int) -> bool:
    return status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == number


def _how(status: int | None) -> str:
    """`the interpreter was ended by SIGSEGV`, for a status of wait()."""
    if status is None:
        return "the interpreter ended"
    if os.WIFSIGNALED(status):
        return f"the interpreter was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"the interpreter ended itself with exit code {os.WEXITSTATUS(status)}"
