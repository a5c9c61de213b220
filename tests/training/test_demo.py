"""The demos: what runs in which order, what is not done twice, what is found out before anything is trained."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tracer1.errors import ConfigError, MissingDependency
from tracer1.training import demo as demos
from tracer1.training.demo import DEMOS, check, demonstrate, run_seed
from tracer1.training.entry import launch

TOOL = DEMOS["tool"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the demo calls; a training makes a policy, an evaluation a report."""
    made: list[tuple[str, ...]] = []

    def call(script: str, overrides: Sequence[str]) -> None:
        made.append((script, *overrides))
        given = dict(text.split("=", 1) for text in overrides if "=" in text)
        if script == "eval.py":
            figures = {f"val/heldout/{metric}": 0.5 for demo in DEMOS.values() for metric in demo.metrics}
            Path(given["report"]).write_text(json.dumps(figures))
        else:
            (Path(given["paths.outputs"]) / given["+experiment"] / "policy").mkdir(parents=True)

    monkeypatch.setattr(demos, "call", call)
    return made


@pytest.mark.parametrize("name", DEMOS)
def test_both_stages_and_an_evaluation_of_each_policy(name: str, calls: list, tmp_path: Path):
    demo = DEMOS[name]
    scores = run_seed(demo, 4, tmp_path, ["rounds=2"])
    assert [call[:2] for call in calls] == [
        ("train.py", f"+experiment={demo.stages[0]}"),
        ("train.py", f"+experiment={demo.stages[1]}"),
        *[("eval.py", f"+experiment={demo.evaluation}")] * 3,
    ]
    assert all("seed=4" in call and f"paths.outputs={tmp_path}" in call for call in calls)
    assert ["rounds=2" in call for call in calls] == [True, True, False, False, False]
    paths = [next(part for part in call if part.startswith("model.path=")) for call in calls[2:]]
    assert paths[0].endswith(demo.planner)
    assert paths[1:] == [f"model.path={tmp_path}/{stage}/policy" for stage in demo.stages]
    assert scores["after stage 2"] == dict.fromkeys(demo.metrics, 0.5)
    run_seed(demo, 4, tmp_path)
    assert len(calls) == 5  # nothing is done again


def train(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """What `train.py` with these arguments ends with, where a run of its own would be a failure."""
    monkeypatch.setattr("sys.argv", ["train.py", "+experiment=demo_tool", *arguments])
    try:
        launch(lambda config: pytest.fail("a run of its own began"), "train", None, demonstrate)
    except SystemExit as stop:
        return stop.code
    return 0


def test_a_demo_as_one_training_keeps_what_is_its_own_from_the_stages(
    calls: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    own = ["seed=3", "run_name=x", f"paths.outputs={tmp_path}", "recipe=demo", "demo=tool"]
    passed = ["rounds=1", "~optimizer.betas", "+reward.terms.format.require_x=1"]
    assert train(monkeypatch, *own, *passed, "executor=none") == 0
    assert [call[0] for call in calls] == ["train.py", "train.py", "eval.py", "eval.py", "eval.py"]
    assert list(calls[0][1:]) == [
        "+experiment=demo_tool_stage1",
        *passed,
        "seed=3",
        f"paths.outputs={tmp_path}/x/seed3",
    ]
    assert ["executor=none" in call for call in calls] == [False, True, True, True, True]  # stage 1 executes nothing
    shown = capsys.readouterr().out
    assert "reward_answer_match" in shown
    assert "Held-out steps, 1 seed" in shown


def test_a_mistake_and_a_missing_sandbox_are_found_before_anything_is_trained(
    calls: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(ConfigError, match=r"no setting 'optimizr.lr'. Did you mean 'optimizer.lr'\?"):
        check(TOOL, ["optimizr.lr=1"])
    monkeypatch.setenv("PATH", str(tmp_path))  # neither bwrap nor tesseract
    check(DEMOS["gui"])  # needs neither
    with pytest.raises(MissingDependency, match="apt-get install tesseract-ocr"):
        check(TOOL, ["executor.sandbox=unsafe"])
    with monkeypatch.context() as without:
        without.setattr(demos, "find_spec", lambda name: None if name == "pytesseract" else object())
        with pytest.raises(MissingDependency, match=r"need pytesseract: .venv/bin/pip install -e '.\[tools\]'"):
            check(TOOL, ["executor.sandbox=unsafe"])
    for arguments, said in (
        ((), "apt-get install bubblewrap"),
        (("demo=null",), "set demo=gui or demo=tool"),
        (("demo=tol",), "demo='tol' cannot work"),
    ):
        capsys.readouterr()
        assert train(monkeypatch, f"paths.outputs={tmp_path}", *arguments) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("INFO", "WARNING"))]
        assert len(lines) == 1
        assert said in lines[0]
    assert calls == []


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def stop(script: str, overrides: Sequence[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demos, "call", stop)
    assert train(monkeypatch, "executor=none", f"paths.outputs={tmp_path}") == 130
    assert "Run the same command again" in capsys.readouterr().err


@pytest.mark.slow
def test_a_round_of_each_stage_of_the_tool_demo(program: Callable, tmp_path: Path):
    """On the shipped tasks and planner, with real tools."""
    from tracer1.tracking.journal import read_metrics

    try:
        check(TOOL)
    except MissingDependency as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a sandbox and tesseract. {missing}")
        pytest.skip(str(missing))
    small = [
        "rounds=1", "data.val_limit=6", "evaluation.every=1", "algorithm.prompts_per_round=4", "algorithm.prompts_per_update=4",
        "algorithm.groups_per_micro_batch=2", "trainer.accelerator=cpu", f"paths.outputs={tmp_path}",
        f"logger.tracking_uri=sqlite:///{tmp_path}/mlflow.db",
    ]  # fmt: skip
    for stage in TOOL.stages:
        done = program("train", [f"+experiment={stage}", *small])
        assert done.code == 0, done.stderr
        assert (tmp_path / stage / "policy").is_dir()
    [round_] = [line for line in read_metrics(tmp_path / stage / "metrics.jsonl") if "reward/total" in line]
    assert 0 < round_["reward/answer_match"] <= 1
    assert round_["time/executing_s"] > 0
