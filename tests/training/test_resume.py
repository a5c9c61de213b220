"""A training that was stopped and resumed ends with the weights of one that was not, bit for bit, across an epoch's end."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_checkpoints import full_disk
from toy_run import stop_when, toy_overrides

from tracer1.tracking.journal import figures, read_metrics

ROUNDS = "rounds=5"  # of 4 prompts; an epoch has 6, so one ends in rounds 2, 3 and 5


def weights(run: Path) -> bytes:
    return (run / "policy" / "model.safetensors").read_bytes()


def reproducible(run: Path) -> list[dict[str, float]]:
    """Every figure of a run that does not tell the time."""
    lines = [
        {**figures(line), "round": line["round"], "step": line["step"]} for line in read_metrics(run / "metrics.jsonl")
    ]
    timed = ("time/", "system/", "rollout/tokens_per_s")
    return [{name: value for name, value in line.items() if not name.startswith(timed)} for line in lines]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole(toy: Path, outputs: Path, program: Callable[..., object], one_thread: None) -> Path:
    """The run of a training that nobody stopped, in this process; made once."""
    if not (outputs / "run").exists():
        assert program("train", toy_overrides(toy, outputs, ROUNDS)).code == 0
    return outputs / "run"


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_ends_with_the_same_weights(
    whole: Path, toy: Path, tmp_path: Path, train: Callable[..., object], signum: signal.Signals
):
    run = tmp_path / "run"
    code, stderr = stop_when(toy_overrides(toy, tmp_path, ROUNDS), (run / "round-000002.ckpt").exists, signum)
    assert not (run / "policy").exists()
    assert not (run / "round-000005.ckpt").exists()
    first_id = json.loads((run / "run.json").read_text())["run_id"]
    if signum == signal.SIGKILL:
        assert code == -9
    else:
        assert code == 130
        [line] = [line for line in stderr.splitlines() if not line.startswith(("INFO", "WARNING"))]
        assert line.startswith("Stopped. Go on from round-00000")
        assert line.endswith(" with the same command and ckpt_path=last.")
    assert train(ROUNDS, "ckpt_path=last").code == 0
    assert weights(run) == weights(whole)
    assert reproducible(run) == reproducible(whole)
    assert [path.name for path in sorted(run.glob("round-*"))] == ["round-000004.ckpt", "round-000005.ckpt"]
    last_id = json.loads((run / "run.json").read_text())["run_id"]
    assert last_id is not None
    assert first_id in (None, last_id)  # None: killed before MLflow had answered


def test_a_finished_run_only_writes_its_policy_again(whole: Path, toy: Path, program: Callable[..., object]):
    before = weights(whole)
    (whole / "policy" / "model.safetensors").unlink()
    assert program("train", toy_overrides(toy, whole.parent, ROUNDS, "ckpt_path=last")).code == 0
    assert weights(whole) == before


@pytest.fixture
def after_round_4(whole: Path, tmp_path: Path) -> Path:
    """A copy of that run as it was before its last round."""
    run = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(run / "round-000005.ckpt")
    shutil.rmtree(run / "policy")
    return run


def test_a_damaged_checkpoint_is_passed_over(whole: Path, after_round_4: Path, train: Callable[..., object]):
    shutil.copytree(after_round_4 / "round-000004.ckpt", after_round_4 / "round-000005.ckpt")
    os.truncate(after_round_4 / "round-000005.ckpt" / "state.ckpt", 1000)
    done = train(ROUNDS, "ckpt_path=last")
    assert done.code == 0
    [said] = [line for line in done.stderr.splitlines() if "damaged" in line]
    assert said.startswith("WARNING The checkpoint round-000005.ckpt is damaged: state.ckpt has 1000 of ")
    assert said.endswith("; going on from round-000004.ckpt instead.")
    assert weights(after_round_4) == weights(whole)


def test_a_full_disk(whole: Path, after_round_4: Path, train: Callable[..., object]):
    """One line, code 2, the earlier checkpoint is whole, and with space the run ends as if nothing had been."""
    size = (after_round_4 / "round-000004.ckpt" / "state.ckpt").stat().st_size
    with full_disk(size // 2):
        said = train(ROUNDS, "ckpt_path=last").error
    assert said.startswith(
        f"No space left to write the checkpoint {after_round_4}/round-000005.ckpt. Free some space and go"
    )
    assert [path.name for path in after_round_4.glob("round-*")] == ["round-000004.ckpt"]
    assert train(ROUNDS, "ckpt_path=last").code == 0
    assert weights(after_round_4) == weights(whole)


def test_an_epoch_ends_inside_the_run(whole: Path):
    epochs = [line["data/epoch"] for line in reproducible(whole) if "data/epoch" in line]
    assert epochs == sorted(epochs)
    assert epochs[-1] >= 2


def test_figures_are_logged_under_round_and_step(whole: Path):
    rows = [(line["round"], line["step"], "reward/total" in line) for line in reproducible(whole)]
    assert rows == [
        (0, 0, False),  # validation before the first round
        (1, 2, True),
        (2, 4, True),
        (3, 6, True),
        (4, 8, True),
        (4, 8, False),
        (5, 10, True),
        (5, 10, False),
    ]
