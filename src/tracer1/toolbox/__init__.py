"""The T3 toolbox: tools that an agent calls by name, each a plain function with a JSON Schema. It knows nothing of rewards or plans.

To add a tool, write `toolbox/tools/x.py`:

    @TOOLS.register("x")
    @tool("What it does.", {"image_path": path("an image"), "size": integer("pixels", optional=True)}, returns="a path")
    def x(desk: Desk, image_path: Path, size: int = 100) -> str: ...

Its result is a plain JSON value. It raises ToolError for what the caller did wrong, and ExecutorError when a server is gone.
"""

from tracer1.registry import Registry

TOOLS = Registry("tool", "tracer1.toolbox.tools")
