"""The demo: stage 1, stage 2 and an evaluation of each policy, for one or more seeds. It runs the entry points as a user would."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console
from rich.table import Table

from tracer1.errors import Tracer1Error
from tracer1.training.checkpoints import checkpoints

ROOT = Path(__file__).resolve().parents[3]
METRICS = ("trajectory_reward", "click_accuracy", "step_success", "type_match", "format")
COLUMNS = ("before", "after stage 1", "after stage 2")

Scores = dict[str, dict[str, float]]  # column -> metric -> value


class DemoFailed(Tracer1Error):
    """One of the demo's commands failed."""


def run_seed(seed: int, outputs: Path, extra: Sequence[str] = ()) -> Scores:
    """Both stages and three evaluations for one seed; what is finished already is not done again.

    Args:
        seed: Of order and sampling.
        outputs: Folder of this seed's runs.
        extra: Overrides for the trainings.
    """
    common = [f"seed={seed}", f"paths.outputs={outputs}"]
    for stage in ("demo_stage1", "demo_stage2"):
        if not (outputs / stage / "policy").is_dir():
            resume = ["ckpt_path=last"] if checkpoints(outputs / stage) else []
            _call("train.py", [f"+experiment={stage}", *common, *extra, *resume])
    policies = ("demo/tiny_planner", f"{outputs}/demo_stage1/policy", f"{outputs}/demo_stage2/policy")
    return {column: _evaluate(path, column, common, outputs) for column, path in zip(COLUMNS, policies, strict=True)}


def _evaluate(policy: str, column: str, common: Sequence[str], outputs: Path) -> dict[str, float]:
    report = outputs / f"eval {column}.json".replace(" ", "_")
    if not report.is_file():
        path = policy if Path(policy).is_absolute() or Path(policy).exists() else str(ROOT / policy)
        _call("eval.py", ["+experiment=demo_eval", f"model.path={path}", f"report={report}", *common])
    figures = json.loads(report.read_text())
    return {metric: figures[f"val/heldout/{metric}"] for metric in METRICS}


def _call(script: str, overrides: Sequence[str]) -> None:
    command = [sys.executable, str(ROOT / "src" / "tracer1" / script), *overrides]
    sys.stderr.write(f"$ {shlex.join(command)}\n")
    code = subprocess.call(command)
    if code:
        raise DemoFailed(f"{script} ended with code {code}; run the demo again to go on from its last checkpoint.")


def show(scores: Sequence[Scores], outputs: Path) -> None:
    """The table before → after stage 1 → after stage 2, and where to look next."""
    table = Table(title=f"Held-out steps, {len(scores)} seed{'s' * (len(scores) > 1)}", title_justify="left")
    table.add_column("metric")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for metric in METRICS:
        table.add_row(metric, *(_cell([s[column][metric] for s in scores]) for column in COLUMNS))
    console = Console()
    console.print(table)
    console.print(f"Runs, checkpoints and policies: {outputs}", soft_wrap=True)
    console.print(
        "Curves and tables with screenshots:  .venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db",
        soft_wrap=True,
    )


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{spread}"
