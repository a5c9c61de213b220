"""`eval.py +benchmark=...` for played benchmarks as a user runs it: the shipped planner on doors and on real pages, mistakes, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from toy_played import Doors, DoorsBenchmark

import tracer1.eval
from tracer1.benchmarks import BENCHMARKS
from tracer1.environments._miniwob.rules import DEMO
from tracer1.errors import ConfigError
from tracer1.training.overrides import check_overrides

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
PLANNER = ROOT / "demo" / "tiny_planner"
PATIENCE_S = 120


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """Runs the entry point in this process with overrides; gives what it printed, and the figures' file."""
    monkeypatch.setenv("TRACER1_ROOT", str(ROOT))
    monkeypatch.setenv("COLUMNS", "160")

    def run(name, *overrides):
        common = [
            f"paths.outputs={tmp_path}",
            "run_name=run",
            f"model.path={PLANNER}",
            "evaluation.sampling.max_tokens=200",
        ]
        config = check_overrides("eval", [*common, *overrides])
        tracer1.eval.main(OmegaConf.create(config))
        return capsys.readouterr().out, json.loads((tmp_path / "run" / f"{name}.json").read_text())

    return run


@pytest.fixture
def doors(monkeypatch):
    """The toy benchmark under its name."""
    monkeypatch.setitem(BENCHMARKS._table, "doors", DoorsBenchmark)
    monkeypatch.setattr(Doors, "begun", {})
    return [
        "+benchmark={name: doors, tasks: [open, shut], seeds: 2, max_steps: 2}",
        "executor=direct",
        "data.horizon=4",
    ]


def test_the_shipped_planner_plays_and_the_report_says_whose_plans_they_are(evaluate, doors, tmp_path):
    printed, report = evaluate("doors", *doors, f"report={tmp_path}/report.json", "evaluation.sampling.max_tokens=50")
    assert (report["executor"], report["horizon"], report["run_seed"]) == ("direct", 4, 1)
    assert report["policy"] == str(PLANNER)
    assert report["sampling"]["max_tokens"] == 50
    assert report["counts"]["episodes"] == 4
    assert json.loads((tmp_path / "report.json").read_text())["figures"] == report["figures"]
    assert "val/doors/wide_open.success" in printed
    assert "rule wide_open: the door is open" in printed


def test_a_mistake_is_one_error(evaluate, doors):
    with pytest.raises(ConfigError, match="Nobody executes: set an executor"):
        evaluate("doors", *doors, "executor=none")
    with pytest.raises(ConfigError, match=r"There is no benchmark 'miniwbo'\. Did you mean 'miniwob'"):
        evaluate("miniwob", "+benchmark=miniwbo")
    with pytest.raises(ConfigError, match=r"no setting 'benchmark\.seds'\. Did you mean 'benchmark\.seeds'"):
        evaluate("miniwob", "+benchmark=miniwob", "benchmark.seds=3")


@pytest.mark.parametrize("name", ["miniwob", "miniwob_trained", "desktop", "osworld", "android_world"])
def test_the_planners_own_point_acts_unless_an_executor_is_chosen(name):
    assert check_overrides("eval", [f"+benchmark={name}"])["executor"] == {"name": "direct"}
    chosen = check_overrides("eval", [f"+benchmark={name}", "executor=ui_tars_7b"])
    assert chosen["executor"]["name"] == "ui_tars"
    settings = {key: value for key, value in chosen["benchmark"].items() if key != "name"}
    BENCHMARKS.get(chosen["benchmark"]["name"])(**settings)  # every setting is one of the class


def test_the_trained_tasks_are_those_of_the_demo_set():
    settings = yaml.safe_load((ROOT / "conf" / "benchmark" / "miniwob_trained.yaml").read_text())
    assert settings["benchmark"]["tasks"] == list(DEMO)


def test_miniwob_has_more_than_a_hundred_task_types_and_says_which_it_leaves_out(browser_installed):
    benchmark = BENCHMARKS.get("miniwob")()
    environment = benchmark.make_environment()
    left_out = benchmark.excluded(environment)
    assert set(left_out) == {"chase-circle", "hover-shape", "moving-items"}
    jobs = benchmark.jobs([task for task in environment.tasks() if task not in left_out])
    assert len({job.task for job in jobs}) == 127
    assert {job.seed for job in jobs} == {100000, 100001, 100002}


def test_real_pages_are_played_and_scored(evaluate, browser_installed, tmp_path):
    printed, report = evaluate(
        "miniwob", "+benchmark=miniwob", "benchmark.tasks=[click-button,click-test]", "benchmark.seeds=2", "benchmark.parallel=2",
        "benchmark.max_steps=4",
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "run" / "miniwob.episodes.jsonl").read_text().splitlines()]
    assert [(row["task"], row["seed"]) for row in rows] == [
        ("click-button", 100000), ("click-button", 100001), ("click-test", 100000), ("click-test", 100001)
    ]  # fmt: skip
    assert all(row["success"] == (row["score"] == 1) for row in rows)
    assert report["counts"]["faults"] == 0
    assert report["published"] == []
    assert report["environment"]["task_types"] == 130
    assert "rule raw_reward_1" in printed


def test_ctrl_c_is_one_line_and_code_130(tmp_path):
    """As a user: the program, its signal, its last words."""
    plugin = tmp_path / "slow_doors.py"
    plugin.write_text(
        "import time, toy_played\nfrom tracer1.benchmarks import BENCHMARKS\n"
        "step = toy_played.Doors.step\n"
        "toy_played.Doors.step = lambda self, action: (time.sleep(0.3), step(self, action))[1]\n"
        "BENCHMARKS.register('doors')(toy_played.DoorsBenchmark)\n"
    )
    arguments = [
        "plugins=[slow_doors]", "+benchmark={name: doors, tasks: [slow], seeds: 400, max_steps: 2, parallel: 2}", "executor=direct",
        f"model.path={PLANNER}", f"paths.outputs={tmp_path}", "run_name=run", "data.horizon=4", "evaluation.sampling.max_tokens=10",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(tmp_path)]), "TRACER1_ROOT": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "src" / "tracer1" / "eval.py"), *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    part = tmp_path / "run" / "doors.episodes.jsonl.part"
    deadline = time.monotonic() + PATIENCE_S
    while not (part.exists() and part.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert stdout == ""
    last = stderr.splitlines()[-1]
    assert last.startswith("Stopped after ")
    assert "of 400 episodes of doors: there are no figures" in last
    assert str(part) in last
