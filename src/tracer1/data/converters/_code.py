"""Recorded code to calls and operations: what data sets whose actions are Python calls have in common.

Code is read with `ast`, never run. It knows no data set: which call means what is said by `_pyautogui.py` and `_browsergym.py`.
"""

import ast
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from tracer1.data.drafts import Unusable
from tracer1.schema import Action

MOST_REPEATS = 5  # of one action within a recorded step (GUI data, section A.1)
CAPPED = f"repeats capped at {MOST_REPEATS}"
_ENTER = frozenset({"enter", "return"})
_KEY_NAMES = {" ": "space", "+": "plus", "\n": "enter", "\r": "enter", "\t": "tab"}  # what would be lost as white space


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was recorded."""

    name: str  # dotted: "pyautogui.click", "fill"
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    code: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One action of a recorded step, and what its step's meta says of it."""

    action: Action
    code: str  # the call or calls that it was read from
    meta: Mapping[str, Any] = field(default_factory=dict)
    repair: str = ""  # a reason where the action says less than the call did


def read_calls(code: str) -> list[Call]:
    """The calls of a recorded step in order; imports are passed over.

    Raises:
        Unusable: It is no Python, holds nothing, or something else than calls of named functions with plain values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in recorded strings are the recorder's
            body = ast.parse(code.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unusable("code does not parse", f"{error.args[0] if error.args else error}: {code!r:.120}") from error
    calls = [_call(node, code) for node in body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    if not calls:
        raise Unusable("code missing")
    return calls


def operations_of(code: str, vocabulary: Mapping[str, Callable[[Call], list[Operation]]]) -> list[Operation]:
    """What the calls of a recorded step do, in order; `vocabulary` says it of each by its name.

    Raises:
        Unusable: Code that cannot be read, or a call that is not in the vocabulary.
    """
    operations: list[Operation] = []
    for call in read_calls(code):
        if call.name not in vocabulary:
            raise Unusable("code not in the vocabulary", call.code[:120])
        operations += vocabulary[call.name](call)
    return operations


def _call(node: ast.stmt, code: str) -> Call:
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, (ast.Name, ast.Attribute)):
        raise Unusable("code is no call", f"{code!r:.120}")
    try:
        args = tuple(ast.literal_eval(value) for value in call.args)
        kwargs = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise Unusable("code has an argument that is no plain value", f"{code!r:.120}") from error
    return Call(ast.unparse(call.func), args, kwargs, ast.unparse(call))


def bind(call: Call, names: Sequence[str]) -> dict[str, Any]:
    """The call's arguments by name.

    Args:
        call: The call.
        names: The function's parameters in order.

    Raises:
        Unusable: More arguments than names, or a name that is not there or comes twice.
    """
    given = dict(zip(names, call.args, strict=False))
    wrong = [name for name in call.kwargs if name not in names or name in given]
    if len(call.args) > len(names) or wrong:
        raise Unusable("code has unknown arguments", call.code[:120])
    return given | dict(call.kwargs)


def text_of(arguments: Mapping[str, Any], name: str, call: Call) -> str:
    """An argument that has to be a string. Raises Unusable."""
    if not isinstance(arguments.get(name), str):
        raise Unusable("argument missing", f"{name} of {call.code[:120]}")
    return arguments[name]


def number_of(value: Any, call: Call) -> float:
    """An argument that has to be a number. Raises Unusable."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unusable("argument missing", f"no number in {call.code[:120]}")
    return float(value)


def key_names(keys: Iterable[Any], call: Call) -> str:
    """Keys that are pressed together as `actions.py` writes them: lower case, separated by a space. Raises Unusable."""
    names = [_key_name(key) if isinstance(key, str) else "" for key in keys]
    if not names or not all(names):
        raise Unusable("argument missing", f"a key of {call.code[:120]}")
    return " ".join(names)


def _key_name(key: str) -> str:
    if key in _KEY_NAMES:
        return _KEY_NAMES[key]
    name = key.strip().lower()
    name = f"{name[:-1]}plus" if name.endswith("++") else name  # "Control++" presses the plus key
    return " ".join(name.replace("+", " ").split())


def scroll_direction(right: float, down: float, call: Call) -> str:
    """The side whose content a scroll reveals, by its larger part; a tie is vertical (GUI data, section A.6).

    Raises:
        Unusable: a scroll of no length.
    """
    if right == 0 and down == 0:
        raise Unusable("scroll of zero length", call.code[:120])
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "down" if down > 0 else "up"


def tidy(operations: Iterable[Operation]) -> list[Operation]:
    """Typing followed by the enter key becomes one action with a trailing newline; equal actions in a row are capped."""
    folded: list[Operation] = []
    for now in operations:
        before = folded[-1] if folded else None
        if before is not None and _submits(before, now):
            action = replace(before.action, content=f"{before.action.content}\n")
            folded[-1] = replace(before, action=action, code=f"{before.code}\n{now.code}")
        else:
            folded.append(now)
    kept: list[Operation] = []
    for _, run in groupby(folded, lambda operation: (operation.action, dict(operation.meta))):
        same = list(run)
        kept += same[:MOST_REPEATS]
        if len(same) > MOST_REPEATS:
            kept[-1] = replace(kept[-1], repair=CAPPED)
    return kept


def _submits(typing: Operation, pressing: Operation) -> bool:
    """Whether the second presses enter where the first typed."""
    there = pressing.meta.get("bid") in (None, typing.meta.get("bid"))
    typed = typing.action.action_type == "type" and not (typing.action.content or "").endswith("\n")
    return typed and there and pressing.action.action_type == "hotkey" and pressing.action.key in _ENTER
