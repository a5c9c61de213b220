"""One agent at a desk: runs an action, be it a call, a block of Python that calls tools, or a final answer. It knows no plan and no step.

A block's outcome is what it prints, or the answer that it gives; the tool that counts is the first one it called.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracer1.registry import nearest
from tracer1.sandbox import Limits, Ran
from tracer1.schema import Action, Outcome
from tracer1.toolbox.inside.programs import unfenced
from tracer1.toolbox.spec import Desk, ToolResult
from tracer1.toolbox.toolbox import INTERPRETER, Toolbox

FINAL = "final_answer"
_UNKNOWN_NAME = re.compile(r"NameError: name '(\w+)' is not defined")


@dataclass(frozen=True, slots=True)
class Live:
    """A tool call that an action made."""

    tool: str
    arguments: Mapping[str, Any]
    result: ToolResult


class Hands:
    """Acts for one episode. Open the desk with `seen=hands.seen`, then set `hands.desk`.

    Args:
        toolbox: The tools.
        limits: Of one run of code.
    """

    def __init__(self, toolbox: Toolbox, limits: Limits) -> None:
        self.toolbox, self.limits = toolbox, limits
        self.live: list[Live] = []  # calls, those of code too; whoever wants those of one action clears it before
        self.desk: Desk | None = None

    def seen(self, tool: str, arguments: Mapping[str, Any], result: ToolResult) -> None:
        """Is told of every call."""
        self.live.append(Live(tool, dict(arguments), result))

    def run(self, code: str) -> Ran:
        """Runs code in the agent's interpreter; raises what went wrong with the infrastructure meanwhile."""
        ran = self.desk.session().run(code, self.limits)
        fault, self.desk.session.fault = self.desk.session.fault, None
        if fault is not None:
            raise fault
        return ran

    def act(self, action: Action) -> Outcome:
        """What an action gives; what is wrong with it is in the outcome.

        Raises:
            ExecutorError: A server or the sandbox failed.
        """
        code = code_of(action)
        if code is not None:
            return self._code(code)
        if action.action_type == FINAL:
            return answered(action)
        result = self.toolbox.call(self.desk, action.action_type, action.arguments)
        called = self.live[-1].tool if self.live else action.action_type
        ran = Action(called, arguments=action.arguments)
        if not result.ok:
            return Outcome(ran, error=result.error, kind=result.kind)
        return Outcome(ran, printed(result.value), result.value, cached=result.cached)

    def _code(self, code: str) -> Outcome:
        ran = self.run(code)
        first = self.live[0] if self.live else None
        given = next(
            (call.arguments.get("answer") for call in self.live if call.tool == FINAL and call.result.ok), None
        )
        content = None if given is None else printed(given)
        tool = INTERPRETER if first is None else first.tool
        arguments = None if first is None or tool == FINAL else first.arguments
        action = Action(tool, content=content, arguments=arguments, code=code)
        if not ran.ok:
            return Outcome(action, **self._what_failed(ran))
        values = [call.result.value for call in self.live if call.tool == tool]
        value = given if given is not None or first is None else values[0] if len(values) == 1 else values
        cached = bool(self.live) and all(call.result.cached for call in self.live)
        return Outcome(action, ran.output if content is None else content, value, cached=cached)

    def _what_failed(self, ran: Ran) -> dict[str, str]:
        """The error of code, and its kind: that of the tool call which made it fail, where one did."""
        failed = next(
            (call.result for call in self.live if not call.result.ok and call.result.error[:80] in ran.error), None
        )
        if failed is not None:
            return {"error": ran.error, "kind": failed.kind}
        unknown = _UNKNOWN_NAME.search(ran.error)
        if unknown is None:
            return {"error": ran.error, "kind": ran.kind}
        hint = nearest(unknown[1], list(self.toolbox.tools))
        return {"error": ran.error + hint, "kind": "unknown_tool" if hint else ran.kind}


def code_of(action: Action) -> str | None:
    """The Python that an action runs, None where it is a call by arguments, or an answer."""
    code = action.code
    if not code and action.action_type == INTERPRETER:
        code = (action.arguments or {}).get("code")
    return unfenced(code) if isinstance(code, str) and code.strip() else None


def answered(action: Action) -> Outcome:
    """The outcome of a final answer that is given without code."""
    given = action.content if action.content is not None else (action.arguments or {}).get("answer")
    if given is None:
        return Outcome(error="final_answer lacks content", kind="bad_arguments")
    return Outcome(Action(FINAL, content=printed(given)), printed(given), given)


def printed(value: Any) -> str:
    """A plain value as Python prints it."""
    return value if isinstance(value, str) else str(value)
