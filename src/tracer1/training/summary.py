"""The one screen at the end of a training: what was gained, and where it lies. It knows nothing about how it was gained."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracer1.schema import Rollout
from tracer1.tracking.journal import RunRecord, read_metrics
from tracer1.training.checkpoints import best_row
from tracer1.training.duration import duration

VALIDATION_ROWS = 8  # more would push the head of the summary off the screen


def run_rows(output_dir: Path, seconds: float) -> dict[str, str]:
    """What `metrics.jsonl` says about a run, as rows for `final_summary`; a run without figures gives few rows.

    Args:
        output_dir: The run's folder.
        seconds: Wall time of this process's training.
    """
    path = output_dir / "metrics.jsonl"
    lines = read_metrics(path) if path.exists() else []
    rounds = max((int(line["round"]) for line in lines if "round" in line), default=None)
    rows = {} if rounds is None else {"rounds": str(rounds)}
    rows["wall time"] = duration(seconds)
    reward = _series(lines, "reward/total")
    if reward:
        rows["reward, first → last"] = f"{reward[0]:.3f} → {reward[-1]:.3f}"
    names = list(dict.fromkeys(name for line in lines for name in line if name.startswith("val/")))
    for name in names[:VALIDATION_ROWS]:
        values = _series(lines, name)
        change = f"{values[0]:.3f} → {values[-1]:.3f}" if len(values) > 1 else f"{values[-1]:.3f}"
        rows[name] = change
    if len(names) > VALIDATION_ROWS:
        rows["val/…"] = f"{len(names) - VALIDATION_ROWS} more in {path}"
    skipped = _series(lines, "optim/skipped")
    if skipped:
        rows["skipped updates"] = f"{skipped[-1]:.0f}"
    return rows


def final_summary(
    rows: Mapping[str, Any], title: str, commands: Sequence[str] = (), console: Console | None = None
) -> None:
    """Writes the summary to stdout.

    Args:
        rows: What to say, in order: a label and its value.
        title: The run's name.
        commands: Lines to copy below the table, never wrapped, e.g. `mlflow ui --backend-store-uri sqlite:///mlflow.db`.
        console: Where to write; stdout by default.
    """
    console = console or Console()
    table = Table(title=Text(title, style="bold"), show_header=False, title_justify="left")
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for label, value in rows.items():
        table.add_row(Text(label), Text(str(value)))
    console.print(table)
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """What an evaluation on held-out steps came to."""

    policy: str
    figures: Mapping[str, float]
    rollouts: Sequence[Rollout]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"policy": self.policy, "steps": len(self.rollouts), **self.figures}

    def show(self, title: str) -> None:
        """Writes the table to stdout."""
        figures = {name: f"{value:.3f}" for name, value in self.figures.items()}
        final_summary({"policy": self.policy, "held-out steps": len(self.rollouts), **figures}, title)


def write_report(path: str | None, figures: Mapping[str, Any]) -> None:
    """Writes figures as JSON; nothing where there is no path."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(figures, indent=1), encoding="utf-8")


def report(output_dir: Path, seconds: float, logger: Mapping[str, Any]) -> None:
    """The summary of a training that is over, with where to look next: the logger's settings say whether in MLflow."""
    rows = run_rows(output_dir, seconds)
    rows["policy"] = str(output_dir / "policy")
    rows |= best_row(output_dir)
    name = (
        RunRecord.load(output_dir / "run.json").run_name or output_dir.name
    )  # a job of a sweep has a number for a folder
    look = [f"mlflow ui --backend-store-uri {logger['tracking_uri']}"] if logger["mlflow"] else []
    final_summary(rows, name, look)


def _series(lines: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(line[name]) for line in lines if name in line]
