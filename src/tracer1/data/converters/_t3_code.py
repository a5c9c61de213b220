"""T3-Agent's actions are blocks of Python: which tools a block calls, in the order of evaluation, with which arguments.

Code is read with `ast`, never run. It knows nothing about conversations or files.
"""

import ast
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FINAL, PYTHON = "final_answer", "python_interpreter"

# The agent's tools and their parameters in the order in which positional arguments are bound (tools, section 1)
TOOLS: dict[str, tuple[str, ...]] = {
    "visualizer": ("question", "image_path"),
    "inspect_file_as_text": ("file_path", "question"),
    "objectlocation": ("object", "image_path"),
    "facedetection": ("image_path",),
    "segmentation": ("image_path", "prompt"),
    "image_generator": ("prompt",),
    "image_edit": ("prompt", "image_path"),
    "ask_search_agent": ("query",),
    "ocr": ("image_path",),
    FINAL: ("answer",),
}

_LITERAL_ERRORS = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as it stands in the code."""

    name: str
    arguments: Mapping[str, Any]  # by name; what is no plain value is {"$expr": source}


class CodeReader:
    """Reads the blocks of one trajectory in order; names that were given plain values are remembered, as the interpreter does.

    Args:
        tools: Tool name -> its parameters in order.
    """

    def __init__(self, tools: Mapping[str, Sequence[str]]) -> None:
        self.tools = tools
        self._values: dict[str, Any] = {}  # of names whose value is surely known

    def calls(self, code: str, failed: bool = False) -> list[ToolCall]:
        """The block's tool calls in the order of evaluation: an argument's before its call's.

        Args:
            code: The block.
            failed: It raised an error somewhere, so that the names it sets are not sure any more.

        Raises:
            ValueError: It is no Python; nothing of it ran.
        """
        before = dict(self._values)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd escapes are the agent's
                tree = ast.parse(code)
            found = [call for statement in tree.body for call in self._visit(statement, code, True)]
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(str(error.args[0] if error.args else error)) from error
        if failed:
            self._values = {name: value for name, value in self._values.items() if before.get(name, _UNKNOWN) is value}
        return found

    def _visit(self, node: ast.AST, code: str, surely: bool) -> Iterator[ToolCall]:
        """Calls below and at a node. `surely` says that it is evaluated whatever happens, once."""
        inner = surely and not isinstance(node, (ast.If, ast.For, ast.While, ast.Try, ast.FunctionDef, ast.Lambda))
        for child in _evaluated(node):
            yield from self._visit(child, code, inner)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.tools:
            yield ToolCall(node.func.id, self._arguments(node, code))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            self._values.pop(node.id, None)
        elif isinstance(node, ast.arg):
            self._values.pop(node.arg, None)
        elif isinstance(node, ast.Assign) and surely:
            value = self._value(node.value)
            plain = value is None or isinstance(value, (str, int, float))  # a list may have changed until it is used
            self._values |= {target.id: value for target in node.targets if plain and isinstance(target, ast.Name)}

    def _arguments(self, call: ast.Call, code: str) -> dict[str, Any]:
        names = list(self.tools[call.func.id])
        found: dict[str, Any] = {}
        for place, argument in enumerate(call.args):
            starred = isinstance(argument, ast.Starred)
            found["*" if starred else names[place] if place < len(names) else f"argument {place + 1}"] = argument
        for word in call.keywords:
            found[word.arg or "**"] = word.value
        return {name: self._plain(node, code) for name, node in found.items()}

    def _plain(self, node: ast.expr, code: str) -> Any:
        value = self._value(node)
        return {"$expr": ast.get_source_segment(code, node) or ast.unparse(node)} if value is _UNKNOWN else value

    def _value(self, node: ast.expr) -> Any:
        """The value of a literal or of a name that has one, as JSON would give it back; `_UNKNOWN` for anything else."""
        if isinstance(node, ast.Name):
            return self._values.get(node.id, _UNKNOWN)
        try:
            text = json.dumps(ast.literal_eval(node), ensure_ascii=False, allow_nan=False)
            text.encode()  # half a surrogate pair cannot be written
        except _LITERAL_ERRORS:
            return _UNKNOWN
        return json.loads(text)


_UNKNOWN = object()


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """A node's children in the order in which they are evaluated."""
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
        first = [node.value] if node.value is not None else []
    elif isinstance(node, (ast.For, ast.comprehension)):
        first = [node.iter]
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
        first = node.generators
    elif isinstance(node, ast.IfExp):
        first = [node.test]
    else:
        first = []
    yield from first
    yield from (child for child in ast.iter_child_nodes(node) if child not in first)
