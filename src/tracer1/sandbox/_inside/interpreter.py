"""The interpreter of a session: runs blocks like the cells of a notebook, calls functions, passes tool calls on. Standard library only.

It knows nothing of the walls around it, and keeps no time: who asked does that.
"""

import builtins
import contextlib
import importlib
import io
import os
import resource
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracer1.sandbox._inside.blocks import outcome, run_block
from tracer1.sandbox._inside.plain import plain
from tracer1.sandbox._inside.wire import Channel

_MB = 1 << 20


class Interpreter:
    """Answers the requests that come through a channel, until it ends.

    Args:
        channel: Requests {"do": "start" | "run" | "call", ...} come in; {"done": ...} and {"tool": ...} go out.
        base_mb: Address space of this process before any code of a user, in MiB: limits are on top of it.
    """

    def __init__(self, channel: Channel, base_mb: int) -> None:
        self._channel, self._base_mb, self._pid = channel, base_mb, os.getpid()
        self._turn = threading.RLock()  # of the channel: code's own threads may call tools
        self._running = 0
        self._blocks = 0
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main
        self.names = main.__dict__
        self._do = {"start": self._start, "run": self._run, "call": self._call}

    def serve(self) -> None:
        """Answers requests until the other side is gone."""
        self._open_output()
        warnings.filterwarnings("ignore", ".*FigureCanvasAgg is non-interactive")  # plt.show() has nobody to show it to
        while (request := self._channel.receive()) is not None:
            self._answer(request)

    def _open_output(self) -> None:
        """One stream for both: what is printed comes in order."""
        file = io.FileIO(1, "w", closefd=False)
        self._printed = io.TextIOWrapper(file, "utf-8", "backslashreplace", line_buffering=True)
        sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = self._printed

    def _answer(self, request: Mapping[str, Any]) -> None:
        self._running += 1
        result = self._do[request["do"]](request)
        if result is None:
            self._running -= 1
            return
        if os.getpid() != self._pid:  # a copy that the code has forked and left here: it has no say
            self._flush("")
            os._exit(0)
        self._flush(request.get("mark", ""))
        if self._running == 1 and self._pid == 1:
            _end_other_processes()
        with self._turn:
            self._running -= 1
            try:
                self._channel.send({"done": result})
            except (TypeError, ValueError) as error:
                self._channel.send({"done": {"error": f"{type(error).__name__}: {error}", "kind": "output"}})

    def _start(self, request: Mapping[str, Any]) -> None:
        limits = request["limits"]
        _limit(resource.RLIMIT_AS, (self._base_mb + limits["memory_mb"]) * _MB)
        _limit(resource.RLIMIT_NPROC, limits["processes"])
        _limit(resource.RLIMIT_NOFILE, limits["open_files"])
        _limit(resource.RLIMIT_FSIZE, limits["file_mb"] * _MB)
        _limit(resource.RLIMIT_CORE, 0)
        for name, parameters in request["tools"].items():
            self.names[name] = self._tool(name, parameters)

    def _lower(self, limits: Mapping[str, Any]) -> None:
        """Soft limits of one run, never above the session's."""
        for kind, value in (
            (resource.RLIMIT_AS, (self._base_mb + limits["memory_mb"]) * _MB),
            (resource.RLIMIT_NOFILE, limits["open_files"]),
            (resource.RLIMIT_FSIZE, limits["file_mb"] * _MB),
        ):
            hard = resource.getrlimit(kind)[1]
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime + limits["cpu_s"]) + 1
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))

    def _run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._lower(request["limits"])
        if self._printed.closed:
            self._open_output()
        self._blocks += 1
        block = f"<block {self._blocks}>"
        code = request["code"]
        return run_block(code, block, self.names)

    def _call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._lower(request["limits"])
        value: list[Any] = []

        def run() -> None:
            function = getattr(importlib.import_module(request["module"]), request["function"])
            value.append(plain(function(**request["arguments"])))

        return {**outcome(run, ""), "value": value[0] if value else None}

    def _tool(self, name: str, parameters: Sequence[str]) -> Callable[..., Any]:
        def tool(*values: Any, **arguments: Any) -> Any:
            if len(values) > len(parameters):
                raise TypeError(f"{name}() takes {len(parameters)} arguments, and got {len(values)} by position")
            for parameter, value in zip(parameters, values, strict=False):
                if parameter in arguments:
                    raise TypeError(f"{name}() got {parameter!r} twice")
                arguments[parameter] = value
            return self._ask(name, {key: plain(value) for key, value in arguments.items()})

        tool.__name__ = tool.__qualname__ = name
        tool.__doc__ = f"{name}({', '.join(parameters)})"
        return tool

    def _ask(self, name: str, arguments: Mapping[str, Any]) -> Any:
        if os.getpid() != self._pid:
            raise RuntimeError(f"{name}() can be called by the main process only")
        with self._turn:
            if not self._running:
                raise RuntimeError(f"{name}() can be called only while a block runs")
            self._flush("")
            self._channel.send({"tool": name, "arguments": arguments})
            while (message := self._channel.receive()) is not None:
                if "refused" in message:
                    raise RuntimeError(message["refused"])
                if "value" in message:
                    return message["value"]
                self._answer(message)  # the tool itself needs this interpreter
        os._exit(0)

    def _flush(self, mark: str) -> None:
        for stream in {sys.stdout, sys.stderr, self._printed}:
            with contextlib.suppress(Exception):
                stream.flush()
        if mark:
            os.write(1, mark.encode("ascii"))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _end_other_processes() -> None:
    """As process 1 of a namespace: ends what a run has left behind, so that nothing works on between two runs."""
    while True:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # no children: as all orphans become ours, no other process at all
            return
        os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
