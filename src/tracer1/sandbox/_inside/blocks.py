"""Runs a block of code and says what became of it. It imports nothing of this package: the http sandbox sends this very file along."""

import linecache
from collections.abc import Callable
from typing import Any

_LONGEST_ERROR = 2000  # characters


def run_block(code: str, block: str, names: dict[str, Any]) -> dict[str, Any]:
    """Runs `code`, which tracebacks will call `block`, in the namespace `names`."""
    linecache.cache[block] = (len(code), None, code.splitlines(keepends=True), block)
    return outcome(lambda: exec(compile(code, block, "exec", dont_inherit=True), names), block)


def outcome(run: Callable[[], Any], block: str) -> dict[str, Any]:
    """{"error", "kind"} of what `run` raised, empty when it ran through."""
    try:
        run()
    except BaseException as error:  # whatever the code raises is its result, SystemExit and KeyboardInterrupt too
        kind = "memory" if isinstance(error, MemoryError) else "exception"
        return {"error": _described(error, block), "kind": kind}
    return {}


def _described(error: BaseException, block: str) -> str:
    """`ZeroDivisionError: division by zero (line 3)`, with the line of the user's block."""
    line, trace = 0, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == block:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        message = str(error)
        if isinstance(error, SyntaxError) and error.filename == block:
            message, line = str(error.msg), error.lineno or 0
    except BaseException:  # its own __str__ is the user's code
        message = "(its message cannot be shown)"
    if len(message) > _LONGEST_ERROR:
        message = f"{message[: _LONGEST_ERROR // 2]} [...] {message[-_LONGEST_ERROR // 2 :]}"
    return type(error).__name__ + (f": {message}" if message else "") + (f" (line {line})" if line else "")
