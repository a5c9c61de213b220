"""A training whose rollouts are written down, and the same training with the recorded engine: the same weights, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest

WEIGHTS = "policy/model.safetensors"
ROUNDS = ("rounds=2", "data.val_limit=0")


@pytest.fixture
def dumped(train: Callable, tmp_path: Path, one_thread: None) -> Path:
    """Two rounds, and the folder of what was sampled in them."""
    done = train(*ROUNDS, f"rollout.dump={tmp_path}/dump", "run_name=sampled")
    assert done.code == 0, done.stderr
    return tmp_path / "dump"


def test_a_replayed_training_gives_the_same_weights(train: Callable, tmp_path: Path, dumped: Path):
    assert len(list(dumped.glob("*.gz"))) == 2
    done = train(*ROUNDS, "engine=recorded", f"engine.folder={dumped}", "run_name=replayed")
    assert done.code == 0, done.stderr
    sampled, replayed = ((tmp_path / run / WEIGHTS).read_bytes() for run in ("sampled", "replayed"))
    assert replayed == sampled


def test_a_round_that_was_not_recorded_ends_with_one_line(train: Callable, dumped: Path):
    done = train("rounds=3", "data.val_limit=0", "engine=recorded", f"engine.folder={dumped}", "run_name=longer")
    assert "is not among the 2 rounds in" in done.error
    assert "Replay with" in done.error or "ask for no more rounds" in done.error


def test_the_folder_must_be_given(train: Callable):
    done = train("engine=recorded", "run_name=nothing")
    assert "engine.folder" in done.error
