"""Response text -> Plan, and Plan -> text. A bad response is a Plan with errors, never an exception; time is linear in the text.

It knows the wire format (method, section 1) and the action table, and nothing of models, rewards or data sets.
"""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tracer1.actions import action_from_wire, action_to_wire
from tracer1.schema import DONE, NOT_DONE, Action, Plan, PlanStep

_FRAME = re.compile(r"\s*<think>(?P<thought>.*?)</think>\s*<answer>.*?</answer>\s*", re.DOTALL)
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# A quoted string (kept whole, so that a quoted "Step 2:" is no marker), a stray escape, or a marker. The possessive `*+` keeps it linear.
_MARKER = re.compile(r'"(?:[^"\\\n]|\\.)*+"|\\.|\bStep\s{0,3}+(?P<number>\d{1,6})\s{0,3}+:', re.IGNORECASE)
_MAX_DIGITS = 300  # int() refuses numbers of thousands of digits with another exception; no plan needs them


def parse_plan(text: str, starts_in_think: bool = False) -> Plan:
    """Reads a response.

    Args:
        text: The response as decoded. Any text gives a Plan.
        starts_in_think: The prompt already opened `<think>` (Qwen3-VL-Thinking's chat template), so the response begins inside it.

    Returns:
        One PlanStep for every `Step k:` marker of the (last) answer block, readable or not. An answer cut by the token limit
        keeps its complete leading steps; the broken one is there with its error.
    """
    if starts_in_think:
        text = "<think>" + text
    framed = all(text.count(tag) == 1 for tag in _TAGS) and _FRAME.fullmatch(text) is not None
    head, found, answer = text.rpartition("<answer>")
    thought = head.partition("<think>")[2].partition("</think>")[0].strip()
    if not found:
        return Plan(thought=thought, error="no <answer> block")
    answer = answer.partition("</answer>")[0]
    steps = tuple(_read_step(number, segment) for number, segment in _segments(answer))
    problem = "" if framed else "not one <think> block followed by one <answer> block"
    return Plan(steps, thought, framed, problem or ("" if steps else "no steps in the answer"))


def first_step_end(text: str) -> int:
    """Where in a response its second step begins: up to there, it is what is executed. Its length, where there is no second step."""
    start = text.rfind("<answer>") + 1
    markers = (m.start() for m in _MARKER.finditer(text, start) if m["number"] is not None)
    return next(itertools.islice(markers, 1, None), len(text))


def _segments(answer: str) -> Iterator[tuple[int, str]]:
    """Splits an answer at its `Step k:` markers that stand outside quoted strings."""
    markers = [m for m in _MARKER.finditer(answer) if m["number"] is not None]
    ends = [*(m.start() for m in markers[1:]), len(answer)]
    for marker, end in zip(markers, ends, strict=False):  # no markers: `ends` is one longer
        yield int(marker["number"]), answer[marker.end() : end]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float("inf")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_read_int)


def _read_object(segment: str) -> tuple[Any, str]:
    """The JSON object at the start of a segment and what follows it; the brace-less form is wrapped first."""
    body = segment.strip()
    if not body.startswith("{"):
        body = "{" + body.rstrip(" \t\r\n,;") + "}"
    value, end = _DECODER.raw_decode(body)
    return value, body[end:].strip(" \t\r\n,;")


def _read_step(number: int, segment: str) -> PlanStep:
    try:
        fields, rest = _read_object(segment)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of nested brackets
        return PlanStep(None, None, None, number, f"not JSON: {type(error).__name__}")
    problems = [f"text after the step: {rest[:40]!r}"] if rest else []
    abstraction, status = fields.get("screenshot_abstraction"), fields.get("status")
    if not isinstance(abstraction, str):
        abstraction, problems = None, [*problems, "no string `screenshot_abstraction`"]
    if status not in (DONE, NOT_DONE):
        status, problems = None, [*problems, f"`status` is neither {DONE!r} nor {NOT_DONE!r}"]
    action = None
    if isinstance(fields.get("action"), dict):
        try:
            action = action_from_wire(fields["action"])
        except (ValueError, OverflowError, RecursionError) as error:  # RecursionError: a deep repr
            problems.append(str(error))
            action = _without_arguments(fields["action"])
    else:
        problems.append("no `action` object")
    return PlanStep(action, status, abstraction, number, "; ".join(problems))


def _without_arguments(wire: dict[str, Any]) -> Action | None:
    """The type and instruction of an action with a bad argument: stage 1 compares no more, and an executor finds the rest missing."""
    try:
        return action_from_wire({name: wire.get(name) for name in ("action_type", "step_instruction")})
    except ValueError:
        return None


def format_step(step: PlanStep, number: int) -> str:
    """A step of the expert's as one line of an answer: `Step 3: {...}`."""
    wire = {
        "screenshot_abstraction": step.screenshot_abstraction or "",
        "action": action_to_wire(step.action) if step.action else {},
        "status": step.status,
    }
    line = json.dumps(wire, ensure_ascii=False)
    for tag in _TAGS:  # typed text may hold a tag: written as an escape it cannot end the block
        line = line.replace(tag, "\\u003c" + tag[1:])
    return f"Step {number}: {line}"


def format_plan(steps: Sequence[PlanStep], first_number: int = 1, thought: str = "") -> str:
    """A whole response that says `steps`: one think block, one answer block, steps numbered from `first_number`.

    The thought must hold none of the four tags.
    """
    lines = "\n".join(format_step(step, first_number + i) for i, step in enumerate(steps))
    return f"<think>{thought}</think><answer>\n{lines}\n</answer>"
