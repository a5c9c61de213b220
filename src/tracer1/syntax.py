"""Python text -> its syntax tree or its literal value, safely from several threads. Nothing is run.

CPython 3.11 counts the depth of a tree in one place for all threads (gh-106905): where the garbage collector calls Python while one
of them parses, another one's parsing ends it with "AST constructor recursion depth mismatch". Filters of warnings are everybody's, too.
"""

import ast
import threading
import warnings
from typing import Any

_ONE_AT_A_TIME = threading.Lock()
_TRIES = 5  # others, who know nothing of the lock, may parse as well
_BAD = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)


def syntax_tree(text: str, mode: str = "exec") -> Any:
    """The tree of a module, or of an expression (`mode="eval"`).

    Raises:
        ValueError: It is no Python, or nested too deeply.
    """
    for attempt in range(_TRIES):
        try:
            with _ONE_AT_A_TIME, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd escapes are the author's
                return ast.parse(text, mode=mode)
        except SystemError:
            if attempt == _TRIES - 1:
                raise
        except _BAD as error:
            raise ValueError(str(error.args[0] if error.args else error)) from error
    raise AssertionError


def literal(node: str | ast.AST | None) -> Any:
    """The value of a literal, given as text or as a node.

    Raises:
        ValueError: It is none.
    """
    try:
        return ast.literal_eval(syntax_tree(node.strip(), "eval") if isinstance(node, str) else node)
    except _BAD as error:
        raise ValueError(f"{node!r:.60} is no literal") from error
