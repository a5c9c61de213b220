"""Checkpoints are whole or not there: kills, full disks, foreign files, and which of them stay."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tracer1.errors import CheckpointError, DataError
from tracer1.training.checkpoints import (
    AtomicCheckpointIO,
    KeepCheckpoints,
    checkpoints,
    find_checkpoint,
    how_to_go_on,
    read_checkpoint,
    write_policy,
)


def saved(number: float, size: int = 100) -> dict[str, object]:
    """What Lightning would hand over."""
    return {"state_dict": {"w": torch.full((size,), number)}, "callbacks": {}, "global_step": 3}


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `free` bytes: a real error from the kernel, where a full disk gives another number."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class FakeTrainer:
    """Saves as Lightning does."""

    is_global_zero, max_epochs, current_epoch = True, 7, 0

    def save_checkpoint(self, path: Path, weights_only: bool) -> None:
        AtomicCheckpointIO().save_checkpoint(saved(self.current_epoch), path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def keep_rounds(keeper: KeepCheckpoints, first: int, last: int) -> None:
    trainer = FakeTrainer()
    for trainer.current_epoch in range(first - 1, last):
        keeper.on_train_epoch_end(trainer, None)


def test_a_checkpoint_reads_as_it_was_written(tmp_path: Path):
    path = tmp_path / "new" / "round-000001.ckpt"
    AtomicCheckpointIO().save_checkpoint(saved(2.0), path)
    assert names(path.parent) == ["round-000001.ckpt"]
    assert torch.equal(read_checkpoint(path)["state_dict"]["w"], torch.full((100,), 2.0))


def test_a_kill_before_the_rename_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "round-000001.ckpt"
    AtomicCheckpointIO().save_checkpoint(saved(1.0), path)

    def killed(*_):
        raise SystemExit(137)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(SystemExit):
            AtomicCheckpointIO().save_checkpoint(saved(2.0), path)
    assert names(tmp_path) == ["round-000001.ckpt", "round-000001.ckpt.tmp"]
    assert read_checkpoint(path)["state_dict"]["w"][0] == 1.0
    assert find_checkpoint("last", tmp_path) == path
    keep_rounds(KeepCheckpoints(tmp_path, every=1, keep=2), 2, 2)
    assert names(tmp_path) == ["round-000001.ckpt", "round-000002.ckpt"]  # the half-written one is gone


@pytest.mark.parametrize("free", [0, 10_000, 200_000])
def test_no_space_left(tmp_path: Path, free: int):
    keeper = KeepCheckpoints(tmp_path, every=1, keep=1)
    keep_rounds(keeper, 1, 1)
    with (
        full_disk(free),
        pytest.raises(DataError, match=r"No space left to write the checkpoint .*round-000002.ckpt") as error,
    ):
        AtomicCheckpointIO().save_checkpoint(saved(2.0, 100_000), tmp_path / "round-000002.ckpt")
    assert "go on with ckpt_path=last" in str(error.value)
    assert names(tmp_path) == ["round-000001.ckpt"]
    assert read_checkpoint(tmp_path / "round-000001.ckpt")["global_step"] == 3


def test_another_error_of_the_disk(tmp_path: Path):
    (tmp_path / "round-000001.ckpt").mkdir()
    with pytest.raises(DataError, match=r"The disk gave an error \(Is a directory\)"):
        AtomicCheckpointIO().save_checkpoint(saved(1.0), tmp_path / "round-000001.ckpt")
    assert names(tmp_path) == ["round-000001.ckpt"]


def test_an_error_of_ours_is_not_the_disks(tmp_path: Path):
    with pytest.raises(TypeError):
        AtomicCheckpointIO().save_checkpoint(
            {"callbacks": (x for x in "generators cannot be saved")}, tmp_path / "a.ckpt"
        )


def test_the_newest_stay(tmp_path: Path):
    keep_rounds(KeepCheckpoints(tmp_path, every=2, keep=2), 1, 7)
    assert names(tmp_path) == ["round-000006.ckpt", "round-000007.ckpt"]  # the last round always counts


def test_the_old_ones_go_after_the_new_one_is_whole(tmp_path: Path):
    keeper = KeepCheckpoints(tmp_path, every=1, keep=1)
    keep_rounds(keeper, 1, 1)
    trainer = FakeTrainer()
    trainer.current_epoch = 1
    trainer.save_checkpoint = lambda path, weights_only: (_ for _ in ()).throw(DataError("full"))
    with pytest.raises(DataError):
        keeper.on_train_epoch_end(trainer, None)
    assert names(tmp_path) == ["round-000001.ckpt"]


def test_going_on_from_an_earlier_round_leaves_the_later_course(tmp_path: Path):
    keep_rounds(KeepCheckpoints(tmp_path, every=1, keep=3), 1, 7)
    keep_rounds(KeepCheckpoints(tmp_path, every=1, keep=3), 6, 6)  # went on from round 5
    assert names(tmp_path) == ["round-000005.ckpt", "round-000006.ckpt"]
    assert find_checkpoint("last", tmp_path).name == "round-000006.ckpt"


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
    assert find_checkpoint(None, tmp_path) is None
    with pytest.raises(CheckpointError, match=r"holds no checkpoint to go on from. Start the run without ckpt_path"):
        find_checkpoint("last", tmp_path)
    with pytest.raises(CheckpointError, match=r"There is no checkpoint /none. In the run's folder: none"):
        find_checkpoint("/none", tmp_path)
    keep_rounds(KeepCheckpoints(tmp_path, every=1, keep=2), 1, 2)
    assert find_checkpoint("last", tmp_path).name == "round-000002.ckpt"
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
    keep_rounds(KeepCheckpoints(tmp_path, every=1, keep=2), 1, 2)
    assert how_to_go_on(tmp_path) == "Stopped. Go on from round-000002 with the same command and ckpt_path=last."


def test_damaged_and_foreign_files(tmp_path: Path):
    path = tmp_path / "round-000001.ckpt"
    AtomicCheckpointIO().save_checkpoint(saved(1.0, 10_000), path)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:100], whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(damaged)
        with pytest.raises(
            CheckpointError, match=r"round-000001.ckpt is not a whole checkpoint .* Give an earlier one"
        ):
            read_checkpoint(path)
    torch.save({"w": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="is not a checkpoint of a training"):
        read_checkpoint(path)


def test_a_policy_appears_whole(tmp_path: Path):
    def export(folder: Path) -> None:
        folder.mkdir()
        (folder / "weights").write_bytes(bytes(content))

    content = b"old"
    module = SimpleNamespace(export=export)
    write_policy(module, tmp_path / "policy")
    content = bytes(100_000)
    with full_disk(1000), pytest.raises(DataError, match=r"No space left to write the policy .*ckpt_path=last"):
        write_policy(module, tmp_path / "policy")
    assert names(tmp_path) == ["policy"]
    assert (tmp_path / "policy" / "weights").read_bytes() == b"old"
    write_policy(module, tmp_path / "policy")
    assert names(tmp_path) == ["policy"]
    assert (tmp_path / "policy" / "weights").stat().st_size == 100_000


def test_safetensors_says_full_in_its_own_words(tmp_path: Path):
    from safetensors.torch import save_file

    module = SimpleNamespace(
        export=lambda folder: (folder.mkdir(), save_file({"w": torch.zeros(50_000)}, folder / "w"))
    )
    with full_disk(1000), pytest.raises(DataError, match="to write the policy"):
        write_policy(module, tmp_path / "policy")
    assert names(tmp_path) == []
