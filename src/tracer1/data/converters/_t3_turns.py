"""A conversation of T3-Agent -> its turns: what was asked, thought, run and answered. Both layouts in which MM-Traj is released.

It knows nothing about tools' meaning, images on disk or steps.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CODE = re.compile(r"```(?:py|python)?\n(.*?)\n```", re.DOTALL)  # as the agent itself looked for code
_LABEL = re.compile(r"^[\s#*]*(?:final\s+)?thoughts?[*\s]*:[*\s]*", re.IGNORECASE)
_CODE_LABEL = re.compile(r"[\s#*]*code\s*:?[\s*]*$", re.IGNORECASE)
_REPLY = re.compile(r"\s*\[OUTPUT OF STEP \d+\]\s*(?P<kind>Observation|Error):\s?(?P<text>.*)", re.DOTALL)
_RETRY = re.compile(r"\s*Now let's retry: take care not to repeat previous errors!.*", re.DOTALL)
_PICTURE = re.compile(
    r"^(?:Picture \d+:\s*)?(?:<img>(?P<path>.*?)</img>|<image(?:_\d+)?>(?:</image>)?)[ \t]*\n?", re.MULTILINE
)
_TASK = re.compile(r"^\s*Task:\s*")
_ATTACHMENT = re.compile(r"\s*^\s*Attachment:(?P<paths>.*)\Z", re.DOTALL | re.MULTILINE)
_TOOL = re.compile(r"^- (?P<name>\w+): .*?\n\s+Takes inputs: (?P<inputs>\{.*\})\s*$", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_INTENT = re.compile(r"\b(?:I(?:'ll|’ll| will| need| can| should| have to| must| am going)|[Ll]et(?:'s|’s| me| us))\b")

# What a tool's server says when it cannot answer, not when it was asked for something wrong (tools, section 2.1)
_FAULT = re.compile(
    r"Error code: (?:408|429|5\d\d)\b|rate limit|timed? ?out\b|Connection (?:error|refused|reset)|Max retries exceeded|"
    r"cannot select an axis to squeeze",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the agent and what came back."""

    thought: str
    code: str | None  # None where it has no code block: the agent then ran nothing
    output: str | None  # what the code printed, or the error's text; None where nothing follows
    failed: bool  # the reply is an error

    @property
    def fault(self) -> bool:
        """Whether a tool's server failed, not the agent."""
        return self.failed and bool(_FAULT.search(self.output or ""))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A record's conversation."""

    task: str
    images: tuple[str, ...]  # paths that the first question shows
    files: tuple[str, ...]  # paths under which the agent's code opens them
    tools: Mapping[str, tuple[str, ...]]  # as the system prompt lists them: name -> names of its inputs
    turns: tuple[Turn, ...]


def read_conversation(record: Mapping[str, Any]) -> Conversation:
    """Reads `conversations` with `from`/`value` or `role`/`content`.

    Raises:
        ValueError: No conversation, or its turns do not alternate between the user and the assistant.
    """
    said = [_said(turn) for turn in record.get("conversations") or ()]
    system = str(record.get("system-prompt") or "")
    if said and said[0][0] == "system":
        system, said = said[0][1], said[1:]
    if not said:
        raise ValueError("it holds no question")
    roles = [role for role, _ in said]
    if roles != [("user", "assistant")[n % 2] for n in range(len(roles))]:
        raise ValueError(f"its turns are {', '.join(roles)}"[:120])
    question, rest = said[0][1], [text for _, text in said[1:]]
    replies: list[str | None] = [*rest[1::2], None]
    images = tuple(path for path in (m["path"] for m in _PICTURE.finditer(question)) if path)
    question = _PICTURE.sub("", question)
    found = _ATTACHMENT.search(question)
    files = tuple(part.strip() for part in found["paths"].split(";") if part.strip()) if found else ()
    task = _TASK.sub("", question[: found.start()] if found else question).strip()
    turns = tuple(_turn(answer, reply) for answer, reply in zip(rest[::2], replies, strict=False))
    return Conversation(task, images, files, _tools(system), turns)


def _said(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        raise ValueError(f"a turn is {turn!r:.60}")
    role, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if not isinstance(text, str):
        raise ValueError(f"a turn has no text: {turn!r:.60}")
    return {"human": "user", "gpt": "assistant"}.get(str(role), str(role)), text


def _turn(answer: str, reply: str | None) -> Turn:
    found = _CODE.search(answer)
    before = answer[: found.start()] if found else answer
    thought = _LABEL.sub("", _CODE_LABEL.sub("", before)).strip()
    if reply is None:
        return Turn(thought, found and found[1], None, False)
    read = _REPLY.fullmatch(reply)
    if read is None:
        raise ValueError(f"a reply is no output of a step: {reply!r:.60}")
    failed = read["kind"] == "Error"
    return Turn(thought, found and found[1], (_RETRY.sub("", read["text"]) if failed else read["text"]).strip(), failed)


def _tools(system: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for tool in _TOOL.finditer(system):
        try:
            found[tool["name"]] = tuple(ast.literal_eval(tool["inputs"]))
        except (ValueError, SyntaxError):
            found[tool["name"]] = ()
    return found


def short_instruction(thought: str) -> str:
    """The first sentence of a thought that says what comes next ("I will ..."), else its first."""
    lines = (_LABEL.sub("", line) for line in thought.splitlines())
    sentences = [" ".join(sentence.split()) for line in lines for sentence in _SENTENCE.split(line) if sentence.strip()]
    return next((sentence for sentence in sentences if _INTENT.search(sentence)), sentences[0] if sentences else "")
