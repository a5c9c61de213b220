"""solver: what a program's `solution()` returns, for equations that sympy solves. It knows nothing of equations."""

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, text, tool
from tracer1.toolbox.tools._inside import inside


@TOOLS.register("solver")
@tool(
    "Solves equations: runs Python that defines solution(), usually with sympy, which returns its answer as text.",
    {
        "command": text(
            "Python code that defines a function solution() without arguments, which returns its answer as text"
        )
    },
    returns="what solution() returned",
    runs_code=True,
)
def solver(desk: Desk, command: str) -> str:
    """Raises ToolError with the error of the program."""
    return inside(desk, "programs.solve", None, command=command)
