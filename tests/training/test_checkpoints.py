"""Checkpoints are whole or not there: kills, full disks, files of earlier versions, and which of them stay."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy_checkpoints import FakeTrainer, full_disk, keep_rounds, keeper, names, saved, state

from tracer1.errors import CheckpointError, ConfigError, DataError
from tracer1.training.checkpoints import (
    Best,
    best_checkpoint,
    best_row,
    checkpoints,
    describe,
    find_checkpoint,
    write_policy,
)

# --- one checkpoint --------------------------------------------------------------------------------------------------------


def test_a_checkpoint_says_what_it_is(tmp_path: Path):
    config = {"seed": 1, "ckpt_path": "last", "logger": {"tracking_uri": "http://me:secret@host", "api_key": "k"}}
    keep_rounds(keeper(tmp_path / "new", config=config, run_id=lambda: "abc", figures={1: {"val/x": 0.5}}), 1, 1)
    [path] = checkpoints(tmp_path / "new")
    assert names(path) == ["manifest.json", "state.ckpt"]
    assert state(path) == 1.0
    said = describe(path)
    assert (said.round, said.global_step, said.kind, said.world_size) == (1, 3, "file", 1)
    assert (said.architecture, said.run_id, dict(said.validation)) == ("a line", "abc", {"val/x": 0.5})
    assert said.files["state.ckpt"]["bytes"] == (path / "state.ckpt").stat().st_size == said.bytes
    assert said.config["logger"] == {"tracking_uri": "http://me:***@host", "api_key": "***"}
    again = keeper(tmp_path, config={**config, "ckpt_path": None})
    assert again.about["config_digest"] == said.config_digest  # how a run starts is not what it is made of
    assert keeper(tmp_path, config={**config, "seed": 2}).about["config_digest"] != said.config_digest


def test_files_of_earlier_versions_are_read(tmp_path: Path):
    path = tmp_path / "round-000003.ckpt"
    position = {"RunPosition": {"positions": [{}, {}], "run_id": "abc"}}
    torch.save({**saved(3.0), "callbacks": position, "epoch": 2, "architecture": "a line"}, path)
    said = describe(find_checkpoint("last", tmp_path))
    assert (said.round, said.kind, said.world_size, said.run_id, said.architecture) == (3, "file", 2, "abc", "a line")
    assert state(path) == 3.0
    keep_rounds(keeper(tmp_path), 4, 5)
    assert names(tmp_path) == ["round-000004.ckpt", "round-000005.ckpt"]


def test_another_version_is_named(tmp_path: Path):
    keep_rounds(keeper(tmp_path), 1, 1)
    manifest = tmp_path / "round-000001.ckpt" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 2}))
    with pytest.raises(CheckpointError, match=r"is of format 2, this version reads format 1. Go on with the version"):
        find_checkpoint(str(manifest.parent), tmp_path)


# --- kills, full disks -----------------------------------------------------------------------------------------------------


def killed_at(call: int, run: Callable[[], None]) -> bool:
    """Whether `run`, in a process of its own, got so far as to its `call`-th action on the disk, where it was killed."""
    pid = os.fork()
    if pid == 0:
        done = 0

        def counted(action: Callable) -> Callable:
            def act(*args, **kwargs):
                nonlocal done
                done += 1
                if done == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return action(*args, **kwargs)

            return act

        for name in ("open", "fsync", "rename", "unlink", "rmdir", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        Path.open = counted(Path.open)  # io.open is bound when it is made
        write = torch.save

        def half(content: object, file) -> None:  # one action before, one within
            counted(lambda: None)()
            file.write(b"half of it")
            file.flush()
            counted(lambda: None)()
            file.seek(0)
            write(content, file)

        torch.save = half
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_action_on_the_disk_leaves_a_whole_checkpoint(tmp_path: Path):
    """Before, in and after each file, the manifest, the renaming, and the deletion of the former one."""
    found = set()
    for call in range(1, 100):
        run = tmp_path / str(call)
        keep_rounds(keeper(run, keep=1), 1, 1)
        if not killed_at(call, lambda run=run: keep_rounds(keeper(run, keep=1), 2, 2)):
            break
        last = find_checkpoint("last", run)
        assert state(last) == describe(last).round
        found.add((describe(last).round, *names(run)))
        keep_rounds(keeper(run, keep=1), 3, 3)  # what was left is cleaned up
        assert names(run) == ["round-000003.ckpt"]
    assert 12 < call < 99
    assert found == {
        (1, "round-000001.ckpt"),
        (1, "round-000001.ckpt", "round-000002.ckpt.tmp"),
        (2, "round-000001.ckpt", "round-000002.ckpt"),
        (2, "round-000001.ckpt.old", "round-000002.ckpt"),
    }


@pytest.mark.parametrize("free", [0, 10_000, 200_000])
def test_no_space_left(tmp_path: Path, free: int):
    """Earlier checkpoints are whole, nothing half-written stays, and when there is space the run goes on."""
    keep = keeper(tmp_path, keep=1)
    keep_rounds(keep, 1, 1)
    with (
        full_disk(free),
        pytest.raises(DataError, match=r"No space left to write the checkpoint .*round-000002.ckpt") as error,
    ):
        keep_rounds(keep, 2, 2, size=100_000)
    assert "go on with ckpt_path=last" in str(error.value)
    assert names(tmp_path) == ["round-000001.ckpt"]
    assert state(find_checkpoint("last", tmp_path)) == 1.0
    keep_rounds(keep, 2, 2, size=100_000)
    assert names(tmp_path) == ["round-000002.ckpt"]


def test_no_space_left_for_the_manifest(tmp_path: Path):
    keep_rounds(keeper(tmp_path), 1, 1)
    with full_disk(5_000), pytest.raises(DataError, match="No space left"):
        keep_rounds(keeper(tmp_path, config={"text": "x" * 10_000}), 2, 2)
    assert names(tmp_path) == ["round-000001.ckpt"]


def test_an_error_of_ours_is_not_the_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FakeTrainer, "save_checkpoint", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes")))
    with pytest.raises(RuntimeError, match="shapes"):
        keep_rounds(keeper(tmp_path), 1, 1)


# --- which stay ------------------------------------------------------------------------------------------------------------


def test_the_newest_stay(tmp_path: Path):
    keep_rounds(keeper(tmp_path, every=2), 1, 7)
    assert names(tmp_path) == ["round-000006.ckpt", "round-000007.ckpt"]  # the last round always counts


def test_a_round_is_saved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keep, trainer = keeper(tmp_path), FakeTrainer()
    keep.save(trainer, 1)
    monkeypatch.setattr(FakeTrainer, "save_checkpoint", None)
    keep.save(trainer, 1)  # as whoever stops the run does


def test_the_best_stay_beside_the_newest(tmp_path: Path):
    """Rounds 2, 3, 5 and 7 are validated; round 2 is not due, but the best so far; round 6 has no figure of its own."""
    scores = {2: 0.9, 3: 0.2, 5: 0.4, 7: 0.1}
    figures = {done: {"val/reward": score, "val/loss": -score} for done, score in scores.items()}
    for mode, metric in (("max", "val/reward"), ("min", "val/loss")):
        run = tmp_path / mode
        keep = keeper(run, every=3, keep=1, best=Best(2, metric, mode), figures=figures)
        keep_rounds(keep, 1, 3)
        assert names(run) == ["round-000002.ckpt", "round-000003.ckpt"]
        keep_rounds(keep, 4, 6)
        assert names(run) == ["round-000002.ckpt", "round-000005.ckpt", "round-000006.ckpt"]
        keep = keeper(
            run, every=3, keep=1, best=Best(2, metric, mode), figures=figures
        )  # the run goes on in another process
        keep_rounds(keep, 7, 7)
        assert names(run) == ["round-000002.ckpt", "round-000005.ckpt", "round-000007.ckpt"]
        assert best_checkpoint(run) == run / "round-000002.ckpt"
        assert best_row(run) == {"best checkpoint": f"round-000002.ckpt: {metric} {figures[2][metric]:.3f}"}


def test_the_score_of_an_earlier_round_is_no_score(tmp_path: Path):
    keep = keeper(tmp_path, every=1, keep=1, best=Best(1, "val/reward"), figures={1: {"val/reward": 0.3}})
    keep_rounds(keep, 1, 3)
    assert names(tmp_path) == ["round-000001.ckpt", "round-000003.ckpt"]
    assert describe(tmp_path / "round-000003.ckpt").validation == {}


def test_a_figure_that_no_validation_gives(tmp_path: Path):
    keep = keeper(tmp_path, best=Best(1, "val/heldout/rewad"), figures={0: {"val/heldout/reward": 0.3}})
    with pytest.raises(
        ConfigError, match=r"best_by=val/heldout/rewad is no figure .* Did you mean 'val/heldout/reward'"
    ):
        keep.on_train_start(FakeTrainer(), None)
    keeper(tmp_path, best=Best(1, "val/heldout/rewad")).on_train_start(FakeTrainer(), None)  # none yet: it goes on
    assert best_checkpoint(tmp_path) is None
    assert best_row(tmp_path) == {}


def test_going_on_from_an_earlier_round_leaves_the_later_course(tmp_path: Path):
    keep_rounds(keeper(tmp_path, keep=3), 1, 7)
    keep_rounds(keeper(tmp_path, keep=3), 6, 6)  # went on from round 5
    assert names(tmp_path) == ["round-000005.ckpt", "round-000006.ckpt"]
    assert find_checkpoint("last", tmp_path).name == "round-000006.ckpt"


# --- the policy ------------------------------------------------------------------------------------------------------------


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
    write_policy(module, tmp_path / "policy", lambda: "# A card")
    assert names(tmp_path) == ["policy"]
    assert (tmp_path / "policy" / "weights").stat().st_size == 100_000
    assert (tmp_path / "policy" / "README.md").read_text() == "# A card"


def test_safetensors_says_full_in_its_own_words(tmp_path: Path):
    from safetensors.torch import save_file

    module = SimpleNamespace(
        export=lambda folder: (folder.mkdir(), save_file({"w": torch.zeros(50_000)}, folder / "w"))
    )
    with full_disk(1000), pytest.raises(DataError, match="to write the policy"):
        write_policy(module, tmp_path / "policy")
    assert names(tmp_path) == []
