"""Code that opens other people's images and documents. It runs inside the sandbox: plain JSON in, plain JSON out.

It knows nothing of tools, desks, workspaces or the sandbox; heavy libraries are imported where they are used. Files are paths
relative to the working folder. What a caller can do something about raises `Unusable`; `answering` turns it into an answer.
"""

import functools
from collections.abc import Callable
from typing import Any

INSTALL = "Install it: pip install 'tracer1[tools]'"


class Unusable(Exception):
    """What was asked for cannot be done.

    Args:
        kind: One of the kinds of `toolbox.spec.ToolError`.
        message: What is wrong and what would be right.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def answering(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Decorator of what is called from outside: answers `{"value": ...}`, or `{"kind": ..., "message": ...}`."""

    @functools.wraps(function)
    def answer(*arguments: Any, **named: Any) -> dict[str, Any]:
        try:
            return {"value": function(*arguments, **named)}
        except Unusable as problem:
            return {"kind": problem.kind, "message": str(problem)}
        except ImportError as missing:
            return {"kind": "unavailable", "message": f"{missing.name or missing} is not installed. {INSTALL}"}

    return answer
