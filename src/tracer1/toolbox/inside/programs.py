"""Runs a program with a function `solution()`, as GTA's Solver and Plot take it. It knows nothing of tools or what is solved.

The program runs in a child process: what it changes in libraries must not be there for the next call, of a tool or of a program.
"""

import io
import json
import os
import re
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from tracer1.toolbox.inside import Unusable, answering
from tracer1.toolbox.inside.images import MAX_PIXELS

NAME = "<solution>"  # of the program, in tracebacks
OUT_OF_MEMORY = 99  # how the child ends then
FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)


def unfenced(written: str) -> str:
    """Python without the Markdown fence that it stands in, if it begins with one; safe to call outside of the sandbox."""
    block = FENCE.match(written.strip())
    return block.group(1) if block else written


def solve(command: str) -> dict[str, Any]:
    """What `solution()` returns, as text."""
    return _apart(lambda: _solve(command))


def plot(command: str, out: str) -> dict[str, Any]:
    """Saves the figure that `solution()` returns; answers its size in pixels."""
    return _apart(lambda: _plot(command, out))


def _apart(function: Callable[[], Any]) -> dict[str, Any]:
    """What a function answers (see `answering`) that is called in a child process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.closerange(3, write)  # what else is open here is not for the program
            os.closerange(write + 1, 1024)
            answer = json.dumps(answering(function)())
            with os.fdopen(write, "w") as stream:
                stream.write(answer)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        ended = "out of memory" if os.waitstatus_to_exitcode(status) == OUT_OF_MEMORY else "it left the interpreter"
        return {"kind": "failed", "message": f"The program ended without an answer ({ended})."}
    return json.loads(answer)


def _solve(command: str) -> str:
    answer = _solution(command)
    if answer is None:
        raise Unusable("failed", "solution() returned nothing. Let it return its answer as text: `return str(answer)`.")
    return str(answer)


def _plot(command: str, out: str) -> list[int]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = _solution(command)
    if not isinstance(figure, Figure):
        kind = getattr(figure, "__name__", type(figure).__name__)
        raise Unusable(
            "failed", f"solution() returned {kind}, not a figure. Let it `return figure` of `figure = plt.figure()`."
        )
    width, height = (round(float(side) * figure.dpi) for side in figure.get_size_inches())
    if not 1 <= width * height <= MAX_PIXELS:
        raise Unusable("refused", f"The figure is {width} x {height} pixels; {MAX_PIXELS:,} are allowed in all.")
    try:
        figure.savefig(out, format="png")
    except Exception as problem:  # drawing runs what the program handed over: bad mathtext, endless ticks ...
        raise Unusable("failed", f"The figure cannot be drawn: {type(problem).__name__}: {problem}") from problem
    return [width, height]


def _compiled(written: str) -> Any:
    """The Python in a Markdown text: all of it where that is Python, otherwise its first fenced block."""
    block = FENCE.search(written)
    try:
        return compile(unfenced(written), NAME, "exec")
    except SyntaxError:
        if block is None:
            raise
        return compile(block.group(1), NAME, "exec")


def _solution(command: str) -> Any:
    """Runs the program and its `solution()`, both without an audience."""
    try:
        program = _compiled(command)
    except (SyntaxError, ValueError) as problem:
        where = f" (line {problem.lineno})" if getattr(problem, "lineno", None) else ""
        raise Unusable("failed", f"{type(problem).__name__}: {getattr(problem, 'msg', problem)}{where}") from problem
    names: dict[str, Any] = {"__name__": "solution"}
    try:
        with redirect_stdout(io.StringIO()):
            exec(program, names)
            if not callable(names.get("solution")):
                raise Unusable("bad_arguments", "The code must define a function `solution()` without arguments.")
            return names["solution"]()
    except (Unusable, MemoryError):
        raise
    except (Exception, SystemExit) as problem:  # whatever the model's program does wrong is an answer to the model
        lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == NAME]
        where = f" (line {lines[-1]})" if lines else ""
        raise Unusable("failed", f"{type(problem).__name__}: {problem}{where}") from problem
