"""Which checkpoint is meant by ckpt_path: damaged ones, foreign files, and what is said of them."""

import logging
import os
from pathlib import Path

import pytest
import torch
from toy_checkpoints import keep_rounds, keeper, names, saved, state

from tracer1.errors import CheckpointError
from tracer1.training.checkpoints import FolderCheckpointIO, checkpoints, describe, find_checkpoint, how_to_go_on


def damage_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "state.ckpt has 100 of": lambda folder: os.truncate(folder / "state.ckpt", 100),
    "state.ckpt is not what was written": lambda folder: damage_bits(folder / "state.ckpt"),
    "state.ckpt is missing": lambda folder: (folder / "state.ckpt").unlink(),
    "it has no manifest.json": lambda folder: (folder / "manifest.json").unlink(),
    "its manifest.json: ": lambda folder: os.truncate(folder / "manifest.json", 100),
}


@pytest.mark.parametrize("problem", DAMAGE)
def test_last_passes_over_a_damaged_one_and_says_so(tmp_path: Path, problem: str, caplog: pytest.LogCaptureFixture):
    keep_rounds(keeper(tmp_path), 1, 2)
    newest = tmp_path / "round-000002.ckpt"
    DAMAGE[problem](newest)
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint("last", tmp_path).name == "round-000001.ckpt"
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("The checkpoint round-000002.ckpt is damaged: ")
    assert problem in line
    assert line.endswith("; going on from round-000001.ckpt instead.")
    with pytest.raises(CheckpointError, match=r"round-000002.ckpt is not a whole checkpoint.* Give an earlier one"):
        find_checkpoint(str(newest), tmp_path)  # whoever names one means it
    keep_rounds(keeper(tmp_path), 2, 2)  # the round is done again
    assert state(find_checkpoint("last", tmp_path)) == 2.0


def test_nothing_whole_is_left(tmp_path: Path):
    keep_rounds(keeper(tmp_path), 1, 2)
    for path in checkpoints(tmp_path):
        (path / "state.ckpt").unlink()
    with pytest.raises(
        CheckpointError, match=r"holds no whole checkpoint. .*round-000002.*round-000001.*overwrite=true"
    ):
        find_checkpoint("last", tmp_path)


def test_large_checkpoints_are_known_by_their_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keep_rounds(keeper(tmp_path), 1, 1)
    damage_bits(tmp_path / "round-000001.ckpt" / "state.ckpt")
    monkeypatch.setattr("tracer1.training.checkpoints.manifest.HASH_UP_TO", 100)
    assert find_checkpoint("last", tmp_path).name == "round-000001.ckpt"


def test_other_files_are_no_checkpoints(tmp_path: Path):
    for name in (
        "round-000010.ckpt",
        "round-000009.ckpt",
        "round-x.ckpt",
        "round-000011.ckpt.tmp",
        "my-round-000012.ckpt",
    ):
        (tmp_path / name).write_text("")
    assert [path.name for path in checkpoints(tmp_path)] == ["round-000009.ckpt", "round-000010.ckpt"]
    assert checkpoints(tmp_path / "none") == []


def test_which_checkpoint_is_meant(tmp_path: Path):
    assert find_checkpoint(None, tmp_path) is find_checkpoint("auto", tmp_path) is None
    with pytest.raises(CheckpointError, match=r"holds no checkpoint to go on from. Start the run without ckpt_path"):
        find_checkpoint("last", tmp_path)
    with pytest.raises(CheckpointError, match=r"There is no checkpoint /none. In the run's folder: none"):
        find_checkpoint("/none", tmp_path)
    keep_rounds(keeper(tmp_path), 1, 2)
    assert find_checkpoint("last", tmp_path).name == find_checkpoint("auto", tmp_path).name == "round-000002.ckpt"
    first = str(tmp_path / "round-000001.ckpt")
    assert find_checkpoint(first, tmp_path) == Path(first)
    with pytest.raises(
        CheckpointError, match=r"holds a run up to round-000002. Go on with ckpt_path=last, .* overwrite=true"
    ):
        find_checkpoint(None, tmp_path)
    assert find_checkpoint(None, tmp_path, overwrite=True) is None
    assert names(tmp_path) == []


def test_how_to_go_on_is_said_in_one_line(tmp_path: Path):
    assert how_to_go_on(tmp_path) == "Stopped before the first checkpoint: run the same command to start again."
    keep_rounds(keeper(tmp_path), 1, 2)
    assert how_to_go_on(tmp_path) == "Stopped. Go on from round-000002 with the same command and ckpt_path=last."


def test_damaged_and_foreign_files(tmp_path: Path):
    path = tmp_path / "round-000001.ckpt"
    torch.save(saved(1.0, 10_000), path)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:100], whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"round-000001.ckpt is not a whole checkpoint.* Give an earlier one"):
            find_checkpoint(str(path), tmp_path)
        with pytest.raises(
            CheckpointError, match=r"round-000001.ckpt is not a whole checkpoint .* Give an earlier one"
        ):
            FolderCheckpointIO().load_checkpoint(path)
    torch.save({"w": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="is not a checkpoint of a training"):
        describe(path)
