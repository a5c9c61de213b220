"""python_interpreter: runs the agent's own Python, in the episode's sandbox. It knows nothing of what the code does."""

from tracer1.toolbox import TOOLS
from tracer1.toolbox.inside.programs import unfenced
from tracer1.toolbox.spec import Desk, ToolError, text, tool

# T3 answers code that printed nothing with a sentence of this meaning, so that the agent prints next time.
SILENT = "The code ran and printed nothing. Use print(...) to see a value."


@TOOLS.register("python_interpreter")
@tool(
    "Runs Python; names persist from call to call, and files of the task are opened by their names.",
    {"code": text("Python; what is to be seen must be printed")},
    returns="what the code printed",
    cached=False,  # what it answers depends on the calls before
)
def python_interpreter(desk: Desk, code: str) -> str:
    """Raises ToolError with the error of the code, and what it printed before."""
    ran = desk.session().run(unfenced(code))
    printed = ran.output.rstrip()
    if ran.ok:
        return printed or SILENT
    before = f"\nPrinted before: {printed[-2000:]}" if printed else ""
    raise ToolError("timeout" if ran.kind == "timeout" else "failed", f"{ran.error or ran.kind}{before}")
