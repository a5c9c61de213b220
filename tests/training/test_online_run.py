"""`python src/tracer1/train.py +experiment=stage3_online`: a policy comes out, a stopped run goes on, mistakes are answered."""

from collections.abc import Callable
from pathlib import Path

import pytest
from toy_run import toy_overrides

from tracer1.tracking.journal import read_metrics


@pytest.fixture
def online(program: Callable[..., object], toy: Path, tmp_path: Path, one_thread: None) -> Callable[..., object]:
    """`online("run", "rounds=2", ...)`: a toy training on toy pages into `tmp_path / "run"`."""

    def train(name: str, *more: str) -> object:
        settings = [
            "+experiment=stage3_online", *toy_overrides(toy, tmp_path), f"run_name={name}", "plugins=[toy_run, toy_episodes]",
            "environment.name=toy_pages", "environment.task=[long, short]", "environment.seeds=50", "online.parallel=3",
            "online.heldout.first_seed=100", "online.heldout.seeds=2", "algorithm.groups_per_micro_batch=1", *more,
        ]  # fmt: skip
        return program("train", settings)

    return train


def weights(run: Path) -> bytes:
    return (run / "policy" / "model.safetensors").read_bytes()


def test_a_policy_comes_out_and_a_stopped_run_goes_on(online, tmp_path: Path):
    assert online("whole", "rounds=3").code == 0
    assert online("cut", "rounds=2").code == 0
    assert weights(tmp_path / "cut") != weights(tmp_path / "whole")
    assert online("cut", "rounds=3", "ckpt_path=last").code == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")  # bit for bit
    lines = [line for line in read_metrics(tmp_path / "whole" / "metrics.jsonl") if "reward/letters" in line]
    assert [line["round"] for line in lines] == [1, 2, 3]
    assert {"reward/episode_score", "reward/format", "episode/success", "episode/steps", "time/playing_s"} <= lines[
        0
    ].keys()
    assert lines[0]["optim/grad_norm"] > 0
    validations = [
        line for line in read_metrics(tmp_path / "whole" / "metrics.jsonl") if "val/heldout_episodes/success" in line
    ]
    assert [line["round"] for line in validations] == [0, 3]
    assert "val/heldout_episodes/success.long" in validations[0]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("executor=none", "Nobody executes: set an executor"),
        ("environment.task=[lng]", "there is no task 'lng'. Did you mean 'long'?"),
        ("environment.seeds=101", "share seeds, e.g. 100: what is trained on is no validation. Raise online.heldout.first_seed"),
        ("environment.seeds=[]", "give no episode"),
        ("~environment.name", "Say where to act: +environment=miniwob"),
        ("online.paralel=3", "online.parallel"),
        ("online.max_steps=0", "online.max_steps=0 cannot work: it must be a whole number of at least 1"),
        ("environment.task=[dies]", "met a fault of the infrastructure, more than rollout.max_faults=0.2 allows"),
    ],
)  # fmt: skip
def test_mistakes_are_answered_with_one_line(online, override: str, said: str):
    assert said in online("run", override).error


def test_without_an_environment(program, toy: Path, tmp_path: Path):
    said = program("train", [*toy_overrides(toy, tmp_path), "recipe=online", "executor=direct"]).error
    assert said.startswith("Say where to act: +environment=miniwob")


def test_stage_3_in_a_real_browser(online, browser_installed, tmp_path: Path):
    real = ["environment.name=miniwob", "environment.task=[click-test]", "rounds=1", "algorithm.prompts_per_round=2"]
    assert online("run", *real, "online.heldout.seeds=1", "online.max_steps=2").code == 0
    assert (tmp_path / "run" / "policy" / "model.safetensors").is_file()
