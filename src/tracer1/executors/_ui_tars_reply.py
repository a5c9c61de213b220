"""Reads UI-TARS's replies: `Thought: ...`, `Action: click(start_box='(x,y)')`, in every syntax of its models. It knows no prompt.

    reply   = [Thought: ...] Action: call {white space call}          a reply of several blocks: the last one counts
    call    = name(argument='value', ...)                             quotes within a value may lack their backslash,
                                                                      the last bracket of a reply may be missing
    place   = (x,y) | (x1,y1,x2,y2) | [..] | <point>x y</point>       each perhaps within <|box_start|> <|box_end|>

Every character is looked at a bounded number of times, whatever the text.
"""

import re
from typing import Any

from tracer1.actions import CoordinateSpace
from tracer1.executors._reply import BAD_ARGUMENTS, UNREADABLE, BadCall, Reply, make_action, read_actions, to_place
from tracer1.schema import Action

_TOKENS = re.compile(r"<\|(?:box_start|box_end|im_end|endoftext|object_ref_start|object_ref_end)\|>|\[EOS\]")
_BLOCK = re.compile(r"^[ \t]*(?:Action|Thought|Reflection|Action_Summary):", re.MULTILINE)
_CALL = re.compile(r"[A-Za-z_]\w*\(")
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")
_BARE = re.compile(r"\([^()'\"\n]*\)|\[[^\[\]'\"\n]*\]|[^,()'\"\s]+")
_AFTER = re.compile(r"\s*(?:,|(?=\)))")  # of an argument
_GAP = re.compile(r"[\s;`]*")  # between calls
# A quote ends a value where another argument follows, or the end of the text, or of its call and then its line or the next call
_FOLLOWS = r"(?=\s*(?:\Z|,\s*[A-Za-z_]\w*\s*=|\)\s*(?:\Z|\n|[;`]|[A-Za-z_]\w*\()))"
_SURE = {quote: re.compile(quote + _FOLLOWS) for quote in "'\""}
_LIKELY = {quote: re.compile(quote + r"(?=\s*[,)])") for quote in "'\""}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "'": "'", '"': '"', "\\": "\\"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_PLACE = re.compile(
    r"[\s()\[\],'\"]*"
)  # what may stand around a place's numbers; a stray quote is in UI-TARS's own prompt
_TAG = re.compile(r"</?(?:point|bbox|box)>")

_FIELDS = {
    **dict.fromkeys(("start_box", "point", "start_point"), "point"),
    **dict.fromkeys(("end_box", "end_point"), "end_point"),
    **dict.fromkeys(("content", "text"), "content"),
    **dict.fromkeys(("key", "hotkey", "press"), "key"),
    **dict.fromkeys(("app_name", "name", "app"), "app_name"),
    "direction": "direction",
}
_NAMES = {"keydown": "hotkey"}


def parse(text: str, space: CoordinateSpace) -> Reply:
    """A reply of UI-TARS. Any text gives a Reply.

    Args:
        text: As the model wrote it.
        space: Its coordinates: `RELATIVE_1000` for UI-TARS-7B, `smart_resized(...)` for UI-TARS-1.5-7B.
    """
    text = _TOKENS.sub("", text)
    blocks = _blocks(text)
    thought = _thought(text[: blocks[0][0]])
    for start, end in reversed(blocks):
        calls = list(_Calls(text[start:end]))
        if calls:
            return read_actions(thought, calls, lambda call: _action(call, space))
    return _bare_place(text[slice(*blocks[-1])], thought, space)


def _blocks(text: str) -> list[tuple[int, int]]:
    """Where actions may stand: after each `Action:` that begins a line, up to the next heading; or else after the last one anywhere,
    or else from the beginning."""
    marks = [(m.start(), m.end(), m[0].strip()) for m in _BLOCK.finditer(text)]
    ends = [mark[0] for mark in marks[1:]] + [len(text)]
    blocks = [(mark[1], end) for mark, end in zip(marks, ends, strict=True) if mark[2] == "Action:"] if marks else []
    if blocks:
        return blocks
    last = text.rfind("Action:")
    return [(last + len("Action:") if last >= 0 else 0, len(text))]


def _thought(head: str) -> str:
    """What precedes the actions, without its heading; of a reflection its summary."""
    head = head.strip().removesuffix("Action:")
    for heading in ("Action_Summary:", "Thought:"):
        if heading in head:
            return head.partition(heading)[2].strip()
    return head.strip()


def _bare_place(text: str, thought: str, space: CoordinateSpace) -> Reply:
    """A reply that is nothing but a place, as the oldest grounding prompt asks for."""
    try:
        place = _place(text)
    except BadCall:
        return Reply(thought or _thought(text), error="no action in the reply", kind=UNREADABLE)
    return read_actions(thought, [place], lambda place: make_action("click", {"point": place}, space))


class _Calls:
    """The calls at the beginning of a text, as names and arguments; BadCall in place of one that breaks off."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._none_beyond = dict.fromkeys(_SURE, len(text) + 1)  # no sure end of a value begins from there on

    def __iter__(self):
        at = _GAP.match(self.text).end()
        while call := _CALL.match(self.text, at):
            try:
                arguments, at = self._arguments(call.end())
            except BadCall as error:
                yield call[0][:-1], error
                return
            yield call[0][:-1], arguments
            at = _GAP.match(self.text, at).end()

    def _arguments(self, at: int) -> tuple[dict[str, str], int]:
        """Name -> text, and where the call ends."""
        arguments: dict[str, str] = {}
        while True:
            name = _NAME.match(self.text, at)
            if name is None:
                break
            arguments[name[1]], at = self._value(name.end())
            after = _AFTER.match(self.text, at)
            if after is None:
                break
            at = after.end()
        at = _GAP.match(self.text, at).end()
        if at == len(self.text) and arguments:  # a last bracket may be missing
            return arguments, at
        if not self.text.startswith(")", at):
            raise BadCall(UNREADABLE, f"the call breaks off or is misspelt at {self.text[at : at + 30]!r}")
        return arguments, at + 1

    def _value(self, at: int) -> tuple[str, int]:
        quote = self.text[at : at + 1]
        if quote not in ("'", '"'):
            bare = _BARE.match(self.text, at)
            return (bare[0], bare.end()) if bare else ("", at)
        end = self._sure_end(quote, at + 1)
        if end is None:
            end = self._end(_LIKELY[quote], at + 1)
        if end is None:
            raise BadCall(UNREADABLE, f"a value has no end: {self.text[at : at + 30]!r}")
        return _ESCAPED.sub(_unescaped, self.text[at + 1 : end]), end + 1

    def _sure_end(self, quote: str, at: int) -> int | None:
        if at >= self._none_beyond[quote]:
            return None
        end = self._end(_SURE[quote], at)
        if end is None:
            self._none_beyond[quote] = at
        return end

    def _end(self, pattern: re.Pattern[str], at: int) -> int | None:
        """The first quote from `at` on that matches and is not escaped."""
        for match in pattern.finditer(self.text, at):
            backslashes = match.start()
            while backslashes > at and self.text[backslashes - 1] == "\\":
                backslashes -= 1
            if (match.start() - backslashes) % 2 == 0:
                return match.start()
        return None


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[0])


def _action(call: tuple[str, Any], space: CoordinateSpace) -> Action:
    name, arguments = call
    if isinstance(arguments, BadCall):
        raise arguments
    fields: dict[str, Any] = {}
    for key, value in arguments.items():
        field = _FIELDS.get(key)
        if field is not None and (value or field == "content"):
            fields[field] = _place(value) if field in ("point", "end_point") else value
    if name in ("wait", "press_home", "press_back", "finished", "call_user"):
        fields = {key: value for key, value in fields.items() if key == "content"}
    return make_action(_NAMES.get(name, name), fields, space)


def _place(value: str) -> tuple[float, float]:
    """The place that a text consists of; raises BadCall where it is none."""
    value = _TAG.sub(" ", value)
    rest = _NUMBER.sub("", value)
    if not _PLACE.fullmatch(rest):
        raise BadCall(BAD_ARGUMENTS, f"not a place: {value.strip()!r:.60}")
    return to_place(float(number) for number in _NUMBER.findall(value)[:5])
