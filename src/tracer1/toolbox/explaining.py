"""The tools and the backends as Markdown tables, for docs/toolbox.md. It knows no particular one."""

import inspect
from collections.abc import Iterable, Mapping

from tracer1.toolbox import TOOLS
from tracer1.toolbox.backends import BACKENDS
from tracer1.toolbox.checking import signature
from tracer1.toolbox.gta import GTA
from tracer1.toolbox.spec import Tool


def explain_tools(tools: Mapping[str, Tool] | None = None) -> str:
    """A row for each tool; None is every registered one."""
    tools = {name: TOOLS.get(name) for name in TOOLS.names()} if tools is None else tools
    rows = [
        (f"`{signature(name, tool)}`", tool.description, tool.returns, _needs(tool)) for name, tool in tools.items()
    ]
    return _table(("tool", "what it does", "returns", "backend"), rows)


def explain_backends() -> str:
    """A row for each kind of backend: its role, its name, its settings with their defaults."""
    rows = []
    for name in BACKENDS.names():
        role, _, kind = name.partition(".")
        settings = inspect.signature(BACKENDS.get(name)).parameters.values()
        words = [f"`{s.name}`" if s.default is s.empty else f"`{s.name}={_plain(s.default)}`" for s in settings]
        rows.append((f"`{role}`", f"`{kind}`", ", ".join(words)))
    return _table(("role", "kind", "settings"), rows)


def with_tables(page: str) -> str:
    """A page with the tables as they are now, between `<!-- tools -->` and `<!-- /tools -->`, and likewise `gta` and `backends`."""
    tables = {"tools": explain_tools(), "gta": explain_tools(GTA), "backends": explain_backends()}
    for name, table in tables.items():
        before, opening, rest = page.partition(f"<!-- {name} -->")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        page = f"{before}{opening}\n{table}\n{closing}{after}" if closing else page
    return page


def _needs(tool: Tool) -> str:
    also = " and ".join(f"`{role}`" for role in tool.also.split())
    needs = f"`{tool.backend}`" if tool.backend else ""
    return f"{needs}; with {also} if there" if needs and also else f"{also} if there" if also else needs


def _plain(value: object) -> str:
    return {None: "null", (): "[]", "": "''"}.get(value, str(value))  # type: ignore[call-overload]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
