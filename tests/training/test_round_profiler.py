"""The profiler watches one round, and the config can choose it."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from tracer1.training.overrides import check_overrides
from tracer1.training.round_profiler import RoundProfiler


def pass_round(profiler: RoundProfiler, size: int) -> None:
    with profiler.profile("run_training_epoch"), profiler.profile("[Strategy]SingleDeviceStrategy.training_step"):
        torch.ones(size, size).matmul(torch.ones(size, size)).softmax(-1)


def test_one_round_is_written(tmp_path: Path):
    profiler = RoundProfiler(str(tmp_path / "run"), round=2, rows=5)
    for size in (4, 8, 16):
        pass_round(profiler, size)
        assert (tmp_path / "run" / "profile_round2.txt").exists() == (size >= 8)
    table = (tmp_path / "run" / "profile_round2.txt").read_text()
    assert "aten::mm" in table
    assert not list(tmp_path.rglob("*.json"))


def test_the_trace_is_written_when_asked_for(tmp_path: Path):
    profiler = RoundProfiler(str(tmp_path), round=1, trace=True)
    pass_round(profiler, 4)
    assert (tmp_path / "profile_round1.json").stat().st_size > 100


@pytest.mark.parametrize("choice", ["torch", "simple"])
def test_the_config_can_choose_it(choice: str, tmp_path: Path):
    config = check_overrides("train", [f"+trainer/profiler={choice}", f"paths.outputs={tmp_path}"])
    made = instantiate(config["trainer"]["profiler"])
    assert Path(str(made.dirpath)) == tmp_path / "train"


def test_none_is_the_default():
    assert check_overrides("train", [])["trainer"]["profiler"] is None
