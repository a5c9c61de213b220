"""The documentation lists the tools and backends that there are."""

import inspect
from pathlib import Path

import pytest

from tracer1.toolbox import TOOLS
from tracer1.toolbox.backends import BACKENDS, ROLES
from tracer1.toolbox.explaining import explain_backends, explain_tools
from tracer1.toolbox.gta import GTA

PAGE = Path(__file__).parents[2] / "docs" / "toolbox.md"


def test_every_tool_and_every_backend_has_a_row():
    assert len(explain_tools().splitlines()) == len(TOOLS.names()) + 2
    assert len(explain_backends().splitlines()) == len(BACKENDS.names()) + 2


@pytest.mark.parametrize(
    "table", [explain_tools, lambda: explain_tools(GTA), explain_backends], ids=["tools", "GTA", "backends"]
)
def test_the_documentation_holds_the_tables_as_they_are(table):
    # python -c "from tracer1.toolbox.explaining import *; print(explain_tools(), explain_backends())" writes them anew
    assert table() in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "tool"), [*((name, TOOLS.get(name)) for name in TOOLS.names()), *GTA.items()])
def test_a_tool_is_what_it_says(name, tool):
    desk, *parameters = inspect.signature(tool.run).parameters.values()
    assert desk.name == "desk"
    assert [parameter.name for parameter in parameters] == list(tool.parameters)
    left_out = [parameter.name for parameter in parameters if parameter.default is not parameter.empty]
    assert left_out == [word for word in tool.parameters if word not in tool.required]
    assert {*tool.also.split(), tool.backend} <= {*ROLES, ""}
    assert tool.description
    assert tool.returns
    assert all(schema["description"] for schema in tool.parameters.values())
    assert not (tool.runs_code and tool.backend)
