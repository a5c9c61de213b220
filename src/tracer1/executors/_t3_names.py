"""The names and files that code mentions, read with `ast`. Nothing is run, and nothing is known of tools."""

import ast
from collections.abc import Sequence
from typing import Any

from tracer1.answers import file_name
from tracer1.syntax import syntax_tree


def names_set(code: str | None) -> set[str]:
    """The names that code sets anywhere: by assignment, import, `def` and `class`; none of code that does not parse."""
    found: set[str] = set()
    for node in _nodes(code):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
    return found


def names_read(code: str | None) -> set[str]:
    """The names that code reads and has not set on an earlier line."""
    first_set: dict[str, int] = {}
    first_read: dict[str, int] = {}
    for node in _nodes(code):
        if isinstance(node, ast.Name):
            lines = first_set if isinstance(node.ctx, ast.Store) else first_read
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    return {name for name, line in first_read.items() if first_set.get(name, line) >= line}


def files_in(code: str | None, *texts: Any) -> set[str]:
    """The last parts of all paths that code holds as texts, or that stand in the texts."""
    constants = [node.value for node in _nodes(code) if isinstance(node, ast.Constant)]
    found: Sequence[Any] = [*constants, *(word for text in texts if isinstance(text, str) for word in text.split())]
    return {name for text in found if isinstance(text, str) and (name := file_name(text)) is not None}


def _nodes(code: str | None) -> list[ast.AST]:
    try:
        return list(ast.walk(syntax_tree(code or "")))
    except ValueError:
        return []
