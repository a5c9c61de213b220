"""The documentation lists the tools and backends that there are."""

import inspect
from pathlib import Path

import pytest

from tracer1.toolbox import TOOLS
from tracer1.toolbox.backends import BACKENDS, ROLES
from tracer1.toolbox.explaining import explain_backends, explain_tools, with_tables
from tracer1.toolbox.gta import GTA

PAGE = Path(__file__).parents[2] / "docs" / "toolbox.md"


def test_every_tool_and_every_backend_has_a_row():
    assert len(explain_tools().splitlines()) == len(TOOLS.names()) + 2
    assert len(explain_backends().splitlines()) == len(BACKENDS.names()) + 2


def test_the_documentation_holds_the_tables_as_they_are():
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page, (
        'write them anew: python -c "from pathlib import Path; from tracer1.toolbox.explaining import with_tables; '
        "page = Path('docs/toolbox.md'); page.write_text(with_tables(page.read_text()))\""
    )
    for table in (explain_tools(), explain_tools(GTA), explain_backends()):
        assert table in page


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
