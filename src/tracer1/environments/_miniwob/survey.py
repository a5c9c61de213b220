"""Counts what the expert solved: per task, on seeds that no rule was written with. It runs nothing itself."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tracer1.environments._miniwob.record import Recorded
from tracer1.environments._miniwob.rules import DEMO, Rule

STORED = Path(__file__).with_name("verified.json")  # the last `--verify` of all tasks, for `--list`


@dataclass(slots=True)
class TaskScore:
    """One task's row."""

    task: str
    privileged: bool
    solved: int = 0
    tried: int = 0
    actions: float = 0.0  # mean over the solved episodes
    failures: dict[str, str] = field(default_factory=dict)  # seed -> why

    @property
    def demo(self) -> bool:
        """Whether the task is part of the demo set."""
        return self.task in DEMO


def survey(rules: Iterable[Rule], results: Iterable[Recorded]) -> list[TaskScore]:
    """One score per rule, in the order of the rules."""
    scores = {rule.task: TaskScore(rule.task, rule.privileged) for rule in rules}
    for result in results:
        score = scores[result.task]
        score.tried += 1
        if result.solved:
            score.actions += (result.actions - score.actions) / (score.solved + 1)
            score.solved += 1
        else:
            score.failures[str(result.seed)] = result.reason
    for score in scores.values():
        score.actions = round(score.actions, 2)
    return list(scores.values())


def as_table(scores: Iterable[TaskScore]) -> Any:
    """The scores as a `rich.table.Table`."""
    from rich.table import Table

    table = Table("task", "actions", "solved", "demo", "privileged", "why not")
    for s in scores:
        why = "; ".join(f"{seed}: {reason}" for seed, reason in s.failures.items())
        marks = ("yes" if s.demo else "", "yes" if s.privileged else "")
        table.add_row(s.task, f"{s.actions:.1f}", f"{s.solved}/{s.tried}", *marks, why[:80])
    return table


def totals(scores: list[TaskScore]) -> str:
    """The summary line."""
    solved, tried = sum(s.solved for s in scores), sum(s.tried for s in scores)
    full, most = sum(s.solved == s.tried for s in scores), sum(s.solved >= 0.95 * s.tried for s in scores)
    return (
        f"{len(scores)} tasks, {sum(s.actions >= 3 for s in scores)} of them with 3 or more actions; solved {solved} of {tried} "
        f"({100 * solved / max(tried, 1):.1f} %); {full} tasks without a failure, {most} with at least 95 %"
    )


def save(scores: list[TaskScore], path: Path, note: str) -> None:
    """Writes the scores as JSON, with what was run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"note": note, "tasks": [asdict(score) for score in scores]}, indent=1) + "\n")


def stored(rules: Iterable[Rule]) -> list[TaskScore]:
    """The scores of the last stored survey; a rule that is newer than it has zeros."""
    rows = {row["task"]: row for row in json.loads(STORED.read_text())["tasks"]} if STORED.is_file() else {}
    return [TaskScore(**rows[r.task]) if r.task in rows else TaskScore(r.task, r.privileged) for r in rules]
