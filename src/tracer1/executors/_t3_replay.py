"""What was recorded of a step and of those before it, and how it answers tools. It runs no code and knows no sandbox.

While a recorded block runs again, its calls are answered in turn with what they gave when it was recorded. While a predicted call runs,
recordings answer the tools that have no other way here: those that need a model or the network, and those whose file is missing.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracer1.answers import file_name, is_expression
from tracer1.executors._t3_records import RecordedCall, recorded_calls
from tracer1.needs import SAID_NOTHING
from tracer1.schema import Step
from tracer1.toolbox.replay import Found, Recorded, Recording
from tracer1.toolbox.spec import Tool

Parameters = Mapping[str, Sequence[str]]  # tool -> its parameters in order


@dataclass(frozen=True, slots=True)
class Block:
    """What one recorded step did: a block of code, or a call without code."""

    tool: str  # the first that it called
    code: str | None
    arguments: Mapping[str, Any] | None  # of that call
    output: str  # what it printed, or gave
    value: Any = None  # of a call without code: its result as plain JSON, where that is recorded beside the text
    failed: bool = False  # it raised an error when it was recorded
    spoilt: bool = False  # a tool's server failed in it: nobody was answered

    def calls(self, tools: Parameters) -> list[RecordedCall]:
        """Its tool calls in order, with what each gave where the output shows it."""
        if self.spoilt or self.failed:
            return []
        if self.code is None:
            return [RecordedCall(self.tool, self.arguments, self.output if self.value is None else self.value, True)]
        return recorded_calls(self.code, self.output, tools)


def blocks_before(step: Step) -> list[Block]:
    """What ran before the step, in order; with the blocks that a tool's server spoilt, for they may have set names."""
    found: list[Block] = []
    for done in step.meta.get("before", ()):
        found += [*_spoilt(done.get("code_before")), _block(done)]
    return found + _spoilt(step.meta.get("code_before"))


def own_block(step: Step) -> Block:
    """What the expert's own step did."""
    action = step.future[0].action
    done = {name: getattr(action, name) for name in ("action_type", "arguments", "code")} if action else {}
    return _block({**done, "outcome": step.meta.get("outcome")})


def _spoilt(codes: Iterable[str | None] | None) -> list[Block]:
    return [Block("", code, None, "", failed=True, spoilt=True) for code in codes or () if code]


def _block(done: Mapping[str, Any]) -> Block:
    outcome = done.get("outcome") or {}
    text = str(outcome.get("text") or "")
    return Block(
        done.get("action_type") or "",
        done.get("code"),
        done.get("arguments"),
        "" if text.startswith(SAID_NOTHING) else text,
        outcome.get("value"),
        bool(outcome.get("failed")),
    )


def recordings(step: Step, tools: Parameters) -> Iterator[Recording]:
    """Every call of the step and of those before it whose arguments and result are known, the step's own first."""
    for block in (own_block(step), *blocks_before(step)):
        calls = block.calls(tools)
        yield from (found for number in range(len(calls)) if (found := recorded_as(block, calls, number)) is not None)


def recorded_as(block: Block, calls: Sequence[RecordedCall], number: int) -> Recording | None:
    """What is known of one of a block's calls; None where its arguments or its result are not."""
    call = calls[number]
    arguments = call.arguments
    if arguments is None and number == 0 and call.tool == block.tool:
        arguments = block.arguments  # the converter knows the names that earlier blocks set
    if not call.known or arguments is None or any(map(is_expression, arguments.values())):
        return None
    return Recording(call.tool, arguments, call.value)


class Replay:
    """`Toolbox.replay` of one episode."""

    def __init__(self) -> None:
        self.recorded: Recorded | None = None  # answers predicted calls; None: nothing recorded does
        self.misses: Counter[str] = Counter()  # tool -> predicted calls that nothing recorded answered
        self.ghosts: set[str] = set()  # files that recorded answers name and that are not there
        self._waiting: dict[str, deque[RecordedCall]] | None = None  # of the block that runs again, by tool
        self._spoilt = False

    def begin(self, block: Block, tools: Parameters) -> None:
        """A recorded block is about to run again."""
        self._waiting, self._spoilt = defaultdict(deque), block.spoilt
        for call in block.calls(tools):
            self._waiting[call.tool].append(call)

    def end(self, recorded: Recorded | None) -> None:
        """What runs from now on is predicted, and answered by `recorded`, if by anything."""
        self._waiting, self._spoilt, self.recorded = None, False, recorded

    @property
    def miss(self) -> str:
        """What becomes of a call that `find` has nothing for: error | live | nearest."""
        if self._waiting is None:
            return "live" if self.recorded is None else self.recorded.miss
        return "error" if self._spoilt else "live"  # a tool that needs nothing may as well run

    def answers(self, name: str, tool: Tool) -> bool:
        """Whether `find` is asked about the tool's calls."""
        return self._waiting is not None or (self.recorded is not None and self.recorded.answers(name, tool))

    def find(self, name: str, tool: Tool, arguments: Mapping[str, Any], digests: Mapping[str, str]) -> Found | None:
        """What was recorded of a call; of a recorded file only its name is there, so a tool that can make it again does."""
        if self._waiting is None:
            found = self.recorded.find(name, tool, arguments, digests)
            self.misses[name] += found is None and self.miss != "live"
            return found
        waiting = self._waiting[name]
        call = waiting.popleft() if waiting else None
        if call is None or not call.known:
            return None
        named = set(_files_named(call.value))
        if named and not tool.backend:
            return None
        self.ghosts |= named
        return Found(call.value)


def _files_named(value: Any) -> Iterator[str]:
    """The files that a result names."""
    if isinstance(value, str):
        yield from [value.strip()] if file_name(value.strip()) is not None else []
        return
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _files_named(part)
