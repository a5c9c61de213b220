"""plot: a picture of the matplotlib figure that a program's `solution()` returns. It knows nothing of what is drawn."""

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, text, tool
from tracer1.toolbox.tools._inside import picture


@TOOLS.register("plot")
@tool(
    "Draws a diagram: runs Python that defines solution(), which returns a matplotlib figure.",
    {"command": text("Python code that defines a function solution() without arguments, which returns the figure")},
    returns="the path of the picture",
    runs_code=True,
)
def plot(desk: Desk, command: str) -> str:
    """Raises ToolError with the error of the program, and where it returned something else."""
    return picture(desk, "plot", "programs.plot", command=command)
