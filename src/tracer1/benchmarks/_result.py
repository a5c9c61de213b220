"""What a benchmark comes to, beside what others have published; as JSON and as a table. It knows nothing of how it was computed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracer1.metrics.episodes import Estimate

MOST_TASKS = 150  # whose rates are shown one by one; the file has all


@dataclass(frozen=True, slots=True)
class Published:
    """A number that somebody else has published. It is not ours, and not necessarily from the same steps or rule."""

    agent: str
    value: float  # 0..1
    source: str
    what: str = ""  # where it is not the headline figure


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All figures of one run of a benchmark."""

    name: str
    headline: str  # the key of the figure that published numbers stand beside
    figures: Mapping[str, Estimate]  # `val/<benchmark>/<rule>.<metric>[.<group>]`
    steps: int
    episodes: int
    about: Mapping[str, Any] = field(default_factory=dict)  # how it was computed, what was counted
    published: Sequence[Published] = ()
    by_task: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # task -> its rate, then what belongs to it
    notes: Sequence[str] = ()  # lines below the table

    def values(self) -> dict[str, float]:
        """Figures by name, those of which nothing counted left out."""
        return {name: figure.value for name, figure in self.figures.items() if not math.isnan(figure.value)}

    def as_json(self) -> dict[str, Any]:
        """Plain values; a figure of which nothing counted is null."""
        return {
            "benchmark": self.name,
            "headline": self.headline,
            "steps": self.steps,
            "episodes": self.episodes,
            **self.about,
            "figures": {
                name: {"value": _plain(f.value), "low": _plain(f.low), "high": _plain(f.high)}
                for name, f in self.figures.items()
            },
            **({"by_task": {task: dict(row) for task, row in self.by_task.items()}} if self.by_task else {}),
            "published": [
                {
                    "published": True,
                    "agent": p.agent,
                    "value": p.value,
                    "source": p.source,
                    "what": p.what or "headline",
                }
                for p in self.published
            ],
        }

    def show(self, title: str, console: Console | None = None) -> None:
        """Writes the table to stdout: ours in percent with the interval, then what is published, marked as such."""
        table = Table(title=Text(f"{title}: {self.steps:,} steps, {self.episodes:,} episodes"), title_justify="left")
        table.add_column("figure", overflow="fold", style="cyan")
        table.add_column("%", justify="right", no_wrap=True)
        table.add_column("95 % interval", justify="right", no_wrap=True)
        for name, figure in self.figures.items():
            bold = "bold" if name == self.headline else ""
            interval = f"{_percent(figure.low)} to {_percent(figure.high)}"
            table.add_row(Text(name, bold), Text(_percent(figure.value), bold), Text(interval, bold))
        if self.published:
            table.add_section()
        for p in self.published:
            table.add_row(Text(f"published, {p.source}: {p.agent} {p.what}".rstrip()), Text(_percent(p.value)), "")
        console = console or Console()
        console.print(table)
        if 0 < len(self.by_task) <= MOST_TASKS:
            console.print(_tasks_table(self.by_task))
        for note in self.notes:
            console.print(Text(note), soft_wrap=True)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _tasks_table(by_task: Mapping[str, Mapping[str, Any]]) -> Table:
    """Tasks of one rate in a row, the best first."""
    rates: dict[float, list[str]] = {}
    for task, row in by_task.items():
        rate = next(iter(row.values()))
        rates.setdefault(-math.inf if rate is None else rate, []).append(task)
    table = Table()
    table.add_column("%", justify="right", no_wrap=True)
    table.add_column("tasks", overflow="fold")
    for rate in sorted(rates, reverse=True):
        table.add_row("–" if rate == -math.inf else _percent(rate), Text(", ".join(rates[rate])))
    return table
