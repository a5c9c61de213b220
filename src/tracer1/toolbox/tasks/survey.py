"""What was recorded, as a table: tasks of each family, calls of each tool, and every task that was left out, with the reason."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tracer1.toolbox.tasks.record import Recorded


def counted(results: Sequence[Recorded], folder: Path) -> Group:
    """A table of tools, then a line for each task that was left out, then the sums."""
    solved = [result for result in results if result.steps]
    calls = Counter(step.future[0].action.action_type for result in solved for step in result.steps)
    table = Table(title=f"{len(solved)} tasks of {len(results)} in {folder}", title_justify="left")
    table.add_column("tool")
    table.add_column("steps", justify="right")
    for tool, count in calls.most_common():
        table.add_row(tool, str(count))
    left_out = [Text(f"left out: {r.made.name}: {r.reason}") for r in results if not r.steps]
    families = Counter(result.made.family for result in solved)
    sums = ", ".join(f"{name} {count}" for name, count in families.items())
    return Group(table, *left_out, Text(f"{calls.total()} steps; tasks by family: {sums}"))
