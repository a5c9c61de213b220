"""Shards are written whole, in reproducible bytes, or not at all."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from toy_steps import members, one_shard, trajectory

from tracer1.data.shard_writer import finished_file, read_manifest
from tracer1.data.shards import group_trajectories, read_trajectories, write_shards
from tracer1.errors import DataError
from tracer1.schema import Action, PlanStep


def test_a_trajectory_never_straddles_shards(tmp_path):
    given = [trajectory(f"{place}", count) for place, count in enumerate((1, 4, 2, 6, 1, 1))]
    paths = write_shards(given, tmp_path, split="val", prefix="toy", max_shard_mb=0.008)
    in_shards = [list(read_trajectories(str(path))) for path in paths]
    assert len(paths) > 2
    assert [steps for shard in in_shards for steps in shard] == given
    for path, shard in zip(paths, in_shards, strict=True):  # within the limit, unless one trajectory alone is larger
        content = sum(512 + -(-len(member) // 512) * 512 for member in members(path).values())
        assert content <= 8000 or len(shard) == 1


@pytest.mark.parametrize("compress", [False, True])
def test_the_same_steps_give_the_same_bytes(tmp_path, compress):
    hashes = set()
    for folder in ("one", "two"):
        path = one_shard(tmp_path / folder, trajectory("a", 3), trajectory("b", 2), compress=compress)
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(hashes) == 1
    entry = read_manifest(tmp_path / "two")[path.name]
    assert entry["sha256"] in hashes
    assert (entry["trajectories"], entry["steps"], entry["bytes"]) == (2, 5, path.stat().st_size)


def test_a_shorter_second_run_leaves_no_stale_shard(tmp_path):
    given = [trajectory(str(n), 3) for n in range(4)]
    write_shards(given, tmp_path, split="val", prefix="toy")
    assert len(write_shards(given, tmp_path, split="train", prefix="toy", max_shard_mb=0.001)) == 4
    write_shards(given[:2], tmp_path, split="train", prefix="toy", max_shard_mb=0.001)
    names = {"toy-train-000000.tar", "toy-train-000001.tar", "toy-val-000000.tar"}
    assert {path.name for path in tmp_path.glob("*.tar")} == names == set(read_manifest(tmp_path))


def test_no_trajectory_writes_no_shard(tmp_path):
    assert write_shards([], tmp_path, split="train", prefix="toy") == []
    assert list(tmp_path.iterdir()) == []


def test_adjacent_steps_are_grouped():
    given = [trajectory("a", 2), trajectory("b", 3), trajectory("b", 1, dataset="other")]
    assert list(group_trajectories(step for steps in given for step in steps)) == given


def test_a_failing_converter_leaves_no_half_shard(tmp_path):
    def converter():
        yield trajectory("a", 2)
        raise DataError("the source ends here")

    with pytest.raises(DataError, match="the source ends here"):
        write_shards(converter(), tmp_path, split="train", prefix="toy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("compress", [False, True])
def test_no_space_left_is_one_line_and_the_whole_shards_stay(tmp_path, compress, capfd):
    given = [trajectory(str(n), 3) for n in range(2)]
    second = f"toy-train-000001.tar{'.gz' * compress}"
    (tmp_path / f"{second}.tmp").symlink_to("/dev/full")  # every write to it fails as on a full disk
    with pytest.raises(DataError, match=f"No space left .* while writing {second}.* free some space"):
        write_shards(given, tmp_path, split="train", prefix="toy", max_shard_mb=0.001, compress=compress)
    [shard] = tmp_path.glob("toy*")
    assert list(read_trajectories(str(shard))) == given[:1]
    assert capfd.readouterr().err == ""


def test_other_faults_of_the_disk_are_not_called_full(tmp_path):
    with pytest.raises(FileNotFoundError), finished_file(tmp_path / "absent" / "a.tar"):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": 2}, "stands at place 1"),
        ({"key": "toy-a-002"}, "stands at place 1"),
        ({"platform": "fridge"}, r"toy-a-001.*breaks step.schema.json at platform: 'fridge' is not one of"),
        ({"boxes": ((0.0, 0.0, 1.0, 1001.0),)}, r"at boxes\[0\]\[3\]: 1001.0 is greater than the maximum of 1000"),
        ({"meta": {"score": float("nan")}}, "cannot be written as JSON"),
        ({"instruction": "half a pair: \ud83d"}, "cannot be written as JSON"),
        ({"screenshot": b"RIFF....WEBP"}, "neither PNG nor JPEG"),
        ({"future": (PlanStep(None),)}, "action"),
        ({"future": (PlanStep(Action("fly")),)}, "at action.action_type: 'fly' is not one of"),
    ],
)
def test_the_writer_refuses_a_bad_step(tmp_path, change, message):
    steps = trajectory("a", 3)
    steps[1] = replace(steps[1], **change)
    with pytest.raises(DataError, match=message):
        write_shards([steps], tmp_path, split="train", prefix="toy")
    assert list(tmp_path.iterdir()) == []


def test_the_writer_refuses_a_trajectory_twice(tmp_path):
    with pytest.raises(DataError, match="'toy-a' comes twice"):
        write_shards([trajectory("a", 1), trajectory("a", 1)], tmp_path, split="train", prefix="toy")


def test_long_keys_and_unicode_survive(tmp_path):
    name = "日本-" + "x" * 150
    given = trajectory(name, 2)
    assert list(read_trajectories(str(one_shard(tmp_path, given)))) == [given]
