"""Whether a task can be scored here: what its metrics and getters import must really be installed. It runs neither.

OSWorld's metrics catch their own exceptions: without openpyxl, or with an empty stand-in for it, comparing two equal tables gives a
silent 0. So their source is read, from the function on through the helpers it calls, and every library that is met is looked for.
"""

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tracer1.syntax import syntax_tree

OWN = "desktop_env"  # their package: its helpers are followed, everything else is a library
INFEASIBLE = "infeasible"  # decided by the last action; no metric is computed


def unscorable(evaluator: Mapping[str, Any], metrics: ModuleType, getters: ModuleType) -> str:
    """Why this task cannot be scored here; "" where it can.

    Args:
        evaluator: The task's.
        metrics: `desktop_env.evaluators.metrics`.
        getters: `desktop_env.evaluators.getters`.
    """
    wanted = [(metrics, name) for name in _listed(evaluator.get("func")) if name != INFEASIBLE]
    if wanted:
        for side in ("result", "expected"):
            wanted += [
                (getters, f"get_{one['type']}") for one in _listed(evaluator.get(side)) if one and one.get("type")
            ]
    for module, name in wanted:
        function = getattr(module, name, None)
        if function is None:
            return f"{module.__name__} has no {name!r}: the task belongs to another revision of OSWorld"
        absent = sorted(library for library in libraries(function) if not installed(library))
        if absent:
            return f"{name!r} needs {', '.join(absent)}, which is not installed"
    return ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def installed(library: str) -> bool:
    """Whether a top-level module can be imported and is no stand-in: it has a place where its code is."""
    try:
        spec = importlib.util.find_spec(library)
    except (ImportError, ValueError, AttributeError):  # in sys.modules, but without a spec
        return False
    if spec is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(Path(place).exists() for place in places)


def libraries(function: Any) -> frozenset[str]:
    """The top-level modules, their own and the standard library's left out, that calling a function may need."""
    function = inspect.unwrap(function)
    met: set[tuple[str, str]] = set()
    return frozenset(_met(function.__module__, function.__name__, met)) - sys.stdlib_module_names


@dataclass(frozen=True)
class _Source:
    """What the names at the top of a module stand for."""

    imports: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # name -> module, name there ("" for a module)
    values: Mapping[str, ast.AST] = field(default_factory=dict)  # name -> its function, class or assigned expression


def _met(module: str, name: str, met: set[tuple[str, str]]) -> Iterator[str]:
    """The libraries that `module.name` uses, helpers included; each is visited once."""
    if (module, name) in met:
        return
    met.add((module, name))
    source = _source(module)
    node = source.values.get(name)
    if node is None and name in source.imports:
        yield from _of_import(*source.imports[name], met)
        return
    inner = {}
    for part in [] if node is None else _running(node):
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            inner.update(_imported(part, module))
        elif isinstance(part, ast.Name) and (part.id in source.values or part.id in source.imports):
            yield from _met(module, part.id, met)
    for target in inner.values():  # an import inside of a function runs whenever it does
        yield from _of_import(*target, met)


def _of_import(module: str, name: str, met: set[tuple[str, str]]) -> Iterator[str]:
    top = module.split(".")[0]
    if top != OWN:
        yield top
    elif name:
        yield from _met(module, name, met)
    else:  # the whole module: whatever it holds may be used
        for one in _source(module).values:
            yield from _met(module, one, met)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but annotations, which nothing computes with."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from _running(child)


@cache
def _source(module: str) -> _Source:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        return _Source()
    imports: dict[str, tuple[str, str]] = {}
    values: dict[str, ast.AST] = {}
    for node in _top(syntax_tree(Path(spec.origin).read_text(encoding="utf-8")).body):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports.update(_imported(node, module if spec.submodule_search_locations is None else f"{module}.x"))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            values[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            values.update({target.id: node.value for target in targets if isinstance(target, ast.Name)})
    return _Source(imports, values)


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those in `try` and `if` included."""
    for node in body:
        yield node
        if isinstance(node, (ast.Try, ast.If)):
            yield from _top(node.body + node.orelse)


def _imported(node: ast.Import | ast.ImportFrom, module: str) -> dict[str, tuple[str, str]]:
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.split(".")[0]: (alias.name, "") for alias in node.names}
    base = node.module or ""
    if node.level:
        parent = module.split(".")[: -node.level]
        base = ".".join([*parent, base] if base else parent)
    return {alias.asname or alias.name: (base, alias.name) for alias in node.names}
