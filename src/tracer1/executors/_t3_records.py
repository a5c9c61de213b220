"""What tools gave when a block of code was recorded, found in what the block printed. Code is read with `ast`, nothing is run.

T3's agent prints what a tool gives, with or without a label, so that its recorded output holds the tools' results. It knows no sandbox.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracer1.syntax import literal, syntax_tree

LISTS = ("objectlocation", "facedetection", "ocr")  # what they print is a list; every other tool gives a text
_NOTHING_KNOWN = object()


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A tool's call in a block and what it gave."""

    tool: str
    arguments: Mapping[str, Any] | None  # by name; None where one of them is not known from the code alone
    value: Any = None
    known: bool = False  # the value could be found in the output


class _Gap:
    """A place in the printed text that something unknown fills: a call's value, or anything."""

    def __init__(self, call: int | None = None) -> None:
        self.call = call


def recorded_calls(code: str, output: str, tools: Mapping[str, Sequence[str]]) -> list[RecordedCall]:
    """The tool calls of a block that are surely made, once each, in the order in which they are made.

    Args:
        code: The block.
        output: What it printed when it was recorded.
        tools: Name -> parameters in the order in which positional arguments are bound.
    """
    try:
        tree = syntax_tree(code)
    except ValueError:
        return []
    reader = _Reader(tools)
    for statement in tree.body:
        reader.read(statement)
    values = _filled(reader.printed, output.strip())
    return [_with_value(call, values.get(index, _NOTHING_KNOWN)) for index, call in enumerate(reader.calls)]


class _Reader:
    """Goes through a block's statements; keeps its calls, and what it prints as texts and gaps."""

    def __init__(self, tools: Mapping[str, Sequence[str]]) -> None:
        self.tools = tools
        self.calls: list[RecordedCall] = []
        self.printed: list[str | _Gap] = []
        self._results: dict[str, int] = {}  # name -> the call whose result it holds
        self._plain: dict[str, Any] = {}  # name -> its literal value

    def read(self, statement: ast.stmt) -> None:
        """One statement of the block."""
        if isinstance(statement, ast.Expr) and _called(statement.value) == "print":
            self._print(statement.value)
            return
        value = getattr(statement, "value", None)
        simple = isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr))
        index = self._call(value) if simple and isinstance(value, ast.Call) else None
        if index is None:
            self._other(statement)
        names = [
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
        for name in names:
            self._results.pop(name, None)
            self._plain.pop(name, None)
        if isinstance(statement, ast.Assign) and len(names) == 1 and isinstance(statement.targets[0], ast.Name):
            if index is not None:
                self._results[names[0]] = index
            elif (plain := self._literal(value)) is not _NOTHING_KNOWN:
                self._plain[names[0]] = plain

    def _call(self, node: ast.expr) -> int | None:
        """The number of the call that the node is, None where it is no tool's; calls within its arguments come before."""
        if not isinstance(node, ast.Call) or _called(node) not in self.tools:
            return None
        for argument in (*node.args, *(word.value for word in node.keywords)):
            self._other(argument)
        name = _called(node)
        self.calls.append(RecordedCall(name, self._arguments(node, self.tools[name])))
        return len(self.calls) - 1

    def _other(self, node: ast.AST) -> None:
        """Anything else: it may print, and it may call tools, how often nobody knows; a value in a loop is nobody's."""
        for inner in ast.walk(node):
            name = _called(inner) if isinstance(inner, ast.Call) else None
            if name == "print":
                self.printed.append(_Gap())
            elif name in self.tools:
                self.calls.append(RecordedCall(name, self._arguments(inner, self.tools[name])))

    def _arguments(self, call: ast.Call, parameters: Sequence[str]) -> dict[str, Any] | None:
        given = [*zip(parameters, call.args, strict=False), *((word.arg, word.value) for word in call.keywords)]
        values = {name: self._literal(node) for name, node in given}
        complete = len(call.args) <= len(parameters) and None not in values
        return values if complete and _NOTHING_KNOWN not in values.values() else None

    def _literal(self, node: ast.AST | None) -> Any:
        if isinstance(node, ast.Name):
            return self._plain.get(node.id, _NOTHING_KNOWN)
        try:
            return literal(node)
        except ValueError:
            return _NOTHING_KNOWN

    def _print(self, call: ast.Call) -> None:
        """Adds what a print statement prints."""
        words = {word.arg: self._literal(word.value) for word in call.keywords}
        between, end = words.get("sep", " "), words.get("end", "\n")
        if not isinstance(between, str) or not isinstance(end, str) or set(words) - {"sep", "end"}:
            self.printed.append(_Gap())
            return
        for number, argument in enumerate(call.args):
            self.printed += [between] * bool(number)
            self.printed += self._shown(argument)
        self.printed.append(end)

    def _shown(self, node: ast.expr) -> Iterator[str | _Gap]:
        """How a printed expression looks."""
        plain = self._literal(node)
        if plain is not _NOTHING_KNOWN:
            yield str(plain)
        elif isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.Constant):
                    yield str(part.value)
                else:
                    bare = part.conversion == -1 and part.format_spec is None
                    yield from self._shown(part.value) if bare else [_Gap()]
        elif isinstance(node, ast.Name):
            yield _Gap(self._results.get(node.id))
        elif (index := self._call(node)) is not None:
            yield _Gap(index)
        else:
            self._other(node)
            yield _Gap()


def _called(node: ast.AST) -> str | None:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def _filled(printed: Sequence[str | _Gap], output: str) -> dict[int, str]:
    """Which text fills the gap of each call, where the texts between the gaps tell them apart."""
    texts, gaps = [""], []
    for part in printed:
        if isinstance(part, _Gap):
            gaps.append(part)
            texts.append("")
        else:
            texts[-1] += part
    lines = any(
        not text.strip() for text in texts[1:-1]
    )  # nothing but white space between two of them: a line each, or unknown
    texts[0], texts[-1] = texts[0].lstrip(), texts[-1].rstrip()
    if not output.startswith(texts[0]):
        return {}
    place, found = len(texts[0]), {}
    for number, gap in enumerate(gaps):
        last = number == len(gaps) - 1
        following = texts[number + 1]
        end = len(output) - len(following) if last else output.find(following, place)
        if end < place or not output.startswith(following, end) or (not following and not last):
            return {}
        value = output[place:end]
        if lines and "\n" in value:
            return {}
        if gap.call is not None:
            found[gap.call] = value
        place = end + len(following)
    return found


def _with_value(call: RecordedCall, text: Any) -> RecordedCall:
    if text is _NOTHING_KNOWN:
        return call
    if call.tool not in LISTS:
        return RecordedCall(call.tool, call.arguments, text, True)
    try:
        value = literal(text)
    except ValueError:
        return call
    return RecordedCall(call.tool, call.arguments, value, isinstance(value, list))
