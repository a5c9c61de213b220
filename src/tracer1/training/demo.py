"""The demos: stage 1, stage 2 and an evaluation of each policy, for one or more seeds. It runs the entry points as a user would."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from tracer1.errors import ConfigError, MissingDependency
from tracer1.sandbox import open_sandbox
from tracer1.training.commands import ROOT, call
from tracer1.training.overrides import check_overrides

TOOL_PACKAGES = ("pytesseract", "sympy", "pandas", "openpyxl", "cv2")  # of the extra `tools`
COLUMNS = ("before", "after stage 1", "after stage 2")

Scores = dict[str, dict[str, float]]  # column -> metric -> value


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo runs and shows.

    Args:
        stages: Experiments of `train.py`, the second one from the policy of the first.
        evaluation: Experiment of `eval.py`.
        planner: Folder of the planner that it starts from, in the checkout.
        metrics: Of the evaluation, as the table shows them.
        outputs: Folder of its runs unless another one is chosen.
        executing: Those of its experiments that have an executor.
    """

    stages: tuple[str, str]
    evaluation: str
    planner: str
    metrics: tuple[str, ...]
    outputs: str
    executing: tuple[str, ...]

    def said(self, experiment: str, extra: Sequence[str]) -> list[str]:
        """Those of the overrides `extra` that an experiment takes: what executes has an executor, and stages are trained."""
        about = [text.lstrip("+~").partition("=")[0].partition(".")[0] == "executor" for text in extra]
        takes = {True: experiment in self.executing, False: experiment in self.stages}
        return [text for text, executor in zip(extra, about, strict=True) if takes[executor]]


DEMOS: Mapping[str, Demo] = {
    "gui": Demo(
        ("demo_stage1", "demo_stage2"),
        "demo_eval",
        "demo/tiny_planner",
        ("trajectory_reward", "click_accuracy", "step_success", "type_match", "format"),
        "outputs/demo",
        ("demo_stage2",),
    ),
    "tool": Demo(
        ("demo_tool_stage1", "demo_tool_stage2"),
        "demo_tool_eval",
        "demo/tiny_tool_planner",
        ("reward_answer_match", "trajectory_reward", "step_success", "type_match", "format"),
        "outputs/demo_tool",
        ("demo_tool_stage2", "demo_tool_eval"),
    ),
}


_ITS_OWN = ("experiment", "recipe", "demo", "seed", "run_name", "paths.outputs", "paths.output_dir", "ckpt_path")


def demonstrate(config: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """A demo as one training (`recipe=demo`): checks, runs and shows it.

    Args:
        config: Plain values; of the demo's own business only `demo`, `seed` and the run's folder are read.
        overrides: What was said on the command line: it holds for both stages, without what is the demo's own business.

    Raises:
        ConfigError: no demo of that name, or a mistake in the overrides.
        MissingDependency: no sandbox, or no tesseract, for tools.
        KeyboardInterrupt: Ctrl-C, with a line that says how to go on.
    """
    if config["demo"] is None:
        raise ConfigError(f"recipe=demo runs one of the demos: set demo={' or demo='.join(DEMOS)}.")
    demo, seed, outputs = DEMOS[config["demo"]], config["seed"], Path(config["paths"]["output_dir"])
    extra = [text for text in overrides if text.lstrip("+~").partition("=")[0] not in _ITS_OWN]
    try:
        check(demo, extra)
        scores = run_seed(demo, seed, outputs / f"seed{seed}", extra)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped. Run the same command again to go on from the last checkpoint.") from None
    show(demo, [scores], outputs)


def check(demo: Demo, extra: Sequence[str] = ()) -> None:
    """Finds out before anything is trained whether both stages can run with the overrides `extra`.

    Raises:
        ConfigError: `extra` holds a mistake.
        MissingDependency: no sandbox, no packages of the extra `tools`, or no tesseract, for a stage that runs tools.
    """
    for stage in demo.stages:
        executor = check_overrides("train", [f"+experiment={stage}", *demo.said(stage, extra)])["executor"]
        if executor["name"] == "t3":
            _check_tools(executor["sandbox"])


def _check_tools(sandbox: str | Mapping[str, Any]) -> None:
    open_sandbox(**({"kind": sandbox} if isinstance(sandbox, str) else sandbox)).close()
    lacking = [name for name in TOOL_PACKAGES if find_spec(name) is None]
    if lacking:
        raise MissingDependency(
            f"The tools of this demo need {', '.join(lacking)}: .venv/bin/pip install -e '.[tools]'."
        )
    if shutil.which("tesseract") is None:
        raise MissingDependency("The tools of this demo read pictures with tesseract: apt-get install tesseract-ocr.")


def run_seed(demo: Demo, seed: int, outputs: Path, extra: Sequence[str] = ()) -> Scores:
    """Both stages and three evaluations for one seed; what is finished already is not done again.

    Args:
        demo: Which one.
        seed: Of order and sampling.
        outputs: Folder of this seed's runs.
        extra: Overrides for the trainings.
    """
    from tracer1.training.checkpoints import checkpoints  # only now: it loads torch

    common = [f"seed={seed}", f"paths.outputs={outputs}"]
    for stage in demo.stages:
        if not (outputs / stage / "policy").is_dir():
            resume = ["ckpt_path=last"] if checkpoints(outputs / stage) else []
            call("train.py", [f"+experiment={stage}", *demo.said(stage, extra), *common, *resume])
    policies = (demo.planner, *(f"{outputs}/{stage}/policy" for stage in demo.stages))
    asked = [f"+experiment={demo.evaluation}", *demo.said(demo.evaluation, extra), *common]
    scores = {}
    for column, policy in zip(COLUMNS, policies, strict=True):
        path = policy if Path(policy).is_absolute() or Path(policy).exists() else str(ROOT / policy)
        figures = _evaluated([*asked, f"model.path={path}"], outputs / f"eval {column}.json".replace(" ", "_"))
        scores[column] = {metric: figures[f"val/heldout/{metric}"] for metric in demo.metrics}
    return scores


def _evaluated(overrides: Sequence[str], report: Path) -> dict[str, float]:
    """The figures of an evaluation, which is not made again where its report is there."""
    if not report.is_file():
        call("eval.py", [*overrides, f"report={report}"])
    return json.loads(report.read_text())


def show(demo: Demo, scores: Sequence[Scores], outputs: Path) -> None:
    """The table before → after stage 1 → after stage 2, and where to look next."""
    table = Table(title=f"Held-out steps, {len(scores)} seed{'s' * (len(scores) > 1)}", title_justify="left")
    table.add_column("metric")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for metric in demo.metrics:
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
