"""A tiny stage 1 and stage 2 on the real trajectories of MM-Traj: real tools run, and the reward is logged by tool."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_run

from tracer1.errors import MissingDependency

DATA = toy_run.ROOT / ".." / "shared" / "data" / "mm_traj"


@pytest.fixture(scope="module")
def sandboxed() -> None:
    """Skips where there is no sandbox; in CI that is a failure."""
    from tracer1.sandbox import open_sandbox

    try:
        open_sandbox().close()
    except MissingDependency as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a sandbox. {missing}")
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 74 trajectories as shards."""
    from rich.console import Console

    from tracer1.data.conversion import Conversion, convert

    if not DATA.is_dir():
        pytest.skip("the real trajectories of MM-Traj are not here")
    folder = tmp_path_factory.mktemp("data")
    convert(Conversion("mm_traj", DATA, folder / "mm_traj", workers=1, val_fraction=0.1), Console(quiet=True))
    return folder


def overrides(shards: Path, toy: Path, outputs: Path) -> list[str]:
    """Of a tiny planner that reads long prompts, one round of twelve steps."""
    kept = ("model.path", "trainer.accelerator", "paths.outputs", "run_name", "logger.tracking_uri")
    toys = [line for line in toy_run.toy_overrides(toy, outputs) if line.startswith(kept)]
    return [
        *toys,
        "model=tiny",
        "optimizer=adamw",
        "trainer.precision=32-true",
        "model.prompt.max_prompt_tokens=8192",
        "data.num_workers=0",
        "data.history=4",
        "data.horizon=2",
        "data.val_limit=4",
        "rounds=1",
        "evaluation.every=1",
        "algorithm.prompts_per_round=12",
        "algorithm.prompts_per_update=6",
        "algorithm.group_size=3",
        "algorithm.groups_per_micro_batch=2",
        "algorithm.logprob_error_warn=null",
        "algorithm.logprob_error_stop=null",
        "~engine",
        "+engine.name=toy_experts",
        f"+engine.shards='{shards}/mm_traj/*.tar*'",
        f"+engine.planner={toy}/planner",
    ]


@pytest.fixture
def figures(program: Callable, shards: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """`figures("stage1_tool")`: what a run of that experiment logged of its round, and of its validation."""
    from tracer1.tracking.journal import read_metrics

    monkeypatch.setenv("TRACER1_DATA", str(shards))

    def run(experiment: str, *more: str) -> tuple[dict, dict]:
        lines = overrides(shards, toy, tmp_path)
        done = program("train", [f"+experiment={experiment}", *lines, "plugins=[toy_experts]", *more])
        assert done.code == 0, done.stderr
        logged = read_metrics(tmp_path / "run" / "metrics.jsonl")
        [round_] = [line for line in logged if "reward/total" in line]
        [*_, validated] = [line for line in logged if "val/heldout/reward" in line]
        assert any(line.get("optim/grad_norm", 0) > 0 for line in logged)
        return round_, validated

    return run


def test_stage_1_aligns_plans_of_tools(figures: Callable):
    round_, validated = figures("stage1_tool")
    assert 0 < round_["reward/trajectory_alignment"] < 1
    assert "reward/answer_match" not in round_
    assert not [name for name in round_ if name.startswith(("executor/", "reward_by_tool/"))]
    assert validated["val/heldout/reward"] > 0.9


def test_stage_2_runs_tools_and_logs_the_reward_by_tool(sandboxed: None, figures: Callable):
    round_, validated = figures("stage2_tool")
    assert round_["executor/infra_errors"] <= 0.2 * 36
    assert round_["executor/bad_actions"] == pytest.approx(
        1 / 3, abs=0.05
    )  # one of each group calls a tool that there is not
    by_tool = {name: value for name, value in round_.items() if name.startswith("reward_by_tool/")}
    assert {"reward_by_tool/final_answer", "reward_by_tool/python_interpreter"} <= set(by_tool)
    if not round_["executor/infra_errors"]:  # of three calls the expert's own is right
        assert list(by_tool.values()) == pytest.approx([0.9 / 3 + 0.1] * len(by_tool))
    assert validated["val/heldout/reward"] == 1.0
