"""`eval.py +benchmark=...` to the end: a tiny planner, hand-made shards, and every verdict checked again by the tool."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_run

from tracer1.data.records import make_key
from tracer1.data.shards import write_shards
from tracer1.schema import DONE, Action, PlanStep, Step

pytestmark = pytest.mark.usefixtures("one_thread")

TOOL = toy_run.ROOT / "tools" / "score_actions.py"
EVAL = toy_run.ROOT / "src" / "tracer1" / "eval.py"
DATASETS = {"android_control_high": "android_control", "gui_odyssey": "gui_odyssey", "mind2web": "multimodal_mind2web"}
HEADLINES = {
    "android_control_high": "os_atlas.step_success", "gui_odyssey": "os_atlas.step_success",
    "mind2web": "seeclick.step_success",
}  # fmt: skip


def shards(folder: Path, dataset: str, split: str = "test", episodes: int = 3) -> str:
    """Episodes of one click each, anywhere."""
    trajectories = []
    for i in range(episodes):
        action = Action("click", "press it", point=(100.0 * i % 1000, 500.0))
        key = make_key(dataset, str(i), 0)
        future = (PlanStep(action, DONE, "a page", 1),)
        screen = toy_run.picture(i)
        step = Step(
            key, dataset, str(i), 0, "press it", screen, (), future, ((0.0, 0.0, 1000.0, 1000.0),), "mobile", (64, 64)
        )
        trajectories.append([step])
    write_shards(trajectories, folder, split=split, prefix=dataset)
    return f"{folder}/{dataset}-{split}-*.tar"


def arguments(name: str, planner: str, tmp_path: Path, pattern: str, *more: str) -> list[str]:
    return [
        f"+benchmark={name}", f"benchmark.shards=[{pattern}]", f"model.path={planner}", "data.horizon=3",
        "benchmark.draws=50", "evaluation.sampling.max_tokens=150", f"paths.outputs={tmp_path}", "run_name=run", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("name", DATASETS)
def test_the_shipped_planner_end_to_end(
    name: str, program: Callable[..., object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    split = "test_task" if name == "mind2web" else "test"
    pattern = shards(tmp_path, DATASETS[name], split)
    planner = str(toy_run.ROOT / "demo" / "tiny_planner")
    done = program("eval", arguments(name, planner, tmp_path, pattern, f"report={tmp_path}/report.json"))
    assert done.code == 0, done.stderr
    report = json.loads((tmp_path / "run" / f"{name}.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "run" / f"{name}.steps.jsonl").read_text().splitlines()]
    assert not list((tmp_path / "run").glob("*.part"))
    assert (report["steps"], report["episodes"], len(rows)) == (3, 3, 3)
    assert report["policy"] == planner
    assert report["headline"] == f"val/{name}/{HEADLINES[name]}"
    assert json.loads((tmp_path / "report.json").read_text())["figures"] == report["figures"]
    assert any(row["predicted"] for row in rows), "the planner should have said something readable"
    for rule in report["rules"]:
        check_with_the_tool(rule, tmp_path / "run" / f"{name}.steps.jsonl", rows)
    rule = next(iter(report["rules"]))
    success = [row["rules"][rule]["success"] for row in rows]
    figure = report["figures"][report["headline"]]
    assert figure["value"] == pytest.approx(sum(success) / 3)
    assert figure["low"] <= figure["value"] <= figure["high"]


def check_with_the_tool(rule: str, path: Path, rows: list[dict]) -> None:
    """The tool reads the file as it is and says the same."""
    done = subprocess.run(
        [sys.executable, str(TOOL), "--rule", rule, str(path)], capture_output=True, text=True, check=True
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [row["rules"][rule] for row in rows]


def test_the_table_marks_what_is_published(program, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """stdout is the table alone."""
    monkeypatch.setenv("COLUMNS", "200")
    pattern = shards(tmp_path, "gui_odyssey")
    done = subprocess.run(
        [sys.executable, str(EVAL), *arguments("gui_odyssey", f"{toy}/planner", tmp_path, pattern, "executor=direct",
                                               "benchmark.point=executor", "evaluation.sampling.max_tokens=10")],
        env=toy_run.environment() | {"COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "val/gui_odyssey/os_atlas.step_success" in done.stdout
    assert "val/gui_odyssey/ams.episode_success" in done.stdout
    assert "published, TraceR1 Table 2: UI-TARS-7B w/ TraceR1" in done.stdout
    assert "88.2" in done.stdout
    report = json.loads((tmp_path / "run" / "gui_odyssey.json").read_text())
    assert report["point"] == "executor"
    assert report["counts"]["unreadable"] == 3  # ten tokens are no plan


def test_a_prompt_that_is_too_long_is_wrong(program, toy: Path, tmp_path: Path):
    pattern = shards(tmp_path, "android_control")
    done = program(
        "eval",
        arguments("android_control_high", f"{toy}/planner", tmp_path, pattern, "model.prompt.max_prompt_tokens=5"),
    )
    assert done.code == 0, done.stderr
    report = json.loads((tmp_path / "run" / "android_control_high.json").read_text())
    assert report["counts"]["too_long"] == 3
    assert report["figures"]["val/android_control_high/os_atlas.step_success"]["value"] == 0.0


def test_mistakes_are_one_line(program, toy: Path, tmp_path: Path):
    def said(name: str, *more: str) -> str:
        return program("eval", arguments(name, f"{toy}/planner", tmp_path, pattern, *more)).error

    pattern = shards(tmp_path, "android_control")
    assert "no benchmark 'mind2wbe'. Did you mean 'mind2web'?" in said("mind2wbe")
    assert "Did you mean 'benchmark.rule'?" in said("mind2web", "benchmark.rul=seeclick")
    assert "No rule 'android_control.os_atlsa'. Did you mean" in said("android_control_high", "benchmark.rule=os_atlsa")
    assert "mind2web is scored on 'multimodal_mind2web'" in said("mind2web")
    assert "there is none. Set one, e.g. `executor=direct`" in said("android_control_high", "benchmark.point=executor")
    assert "benchmark.shards" in said("android_control_high", f"benchmark.shards=[{tmp_path}/none.tar]")
    assert "benchmark 'gui_odyssey' has no setting 'pont'. Did you mean 'point'?" in said(
        "gui_odyssey", "+benchmark.pont=1"
    )


def _a_batch(part: Path) -> bool:
    """Whether the first 64 steps are written."""
    return part.exists() and part.read_bytes().count(b"\n") >= 64


def test_ctrl_c_says_what_is_there(toy: Path, tmp_path: Path):
    pattern = shards(tmp_path, "android_control", episodes=400)
    part = tmp_path / "run" / "android_control_high.steps.jsonl.part"
    process = subprocess.Popen(
        [sys.executable, str(EVAL), *arguments("android_control_high", f"{toy}/planner", tmp_path, pattern)],
        env=toy_run.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + toy_run.PATIENCE_S
    while not _a_batch(part) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=toy_run.PATIENCE_S)
    assert process.returncode == 130, stderr
    assert stdout == ""
    last = stderr.splitlines()[-1]
    assert last.startswith("Stopped after ")
    assert f"steps of android_control_high: there are no figures. What was scored is in {part}" in last
    assert not part.with_suffix("").exists()
    done = int(last.split()[2].replace(",", ""))
    assert len(part.read_text().splitlines()) >= done > 0
