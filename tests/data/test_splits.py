"""Whole trajectories go to one split, and nobody trains on a benchmark's test trajectories."""

import pytest
from toy_steps import trajectory
from toy_streams import keys, module

from tracer1.data.shards import write_shards
from tracer1.data.splits import is_test, is_wanted, split_of
from tracer1.errors import DataError
from tracer1.interfaces import Task


def task(trajectory: str = "a", split: str | None = None, dataset: str = "agentnet") -> Task:
    return Task(dataset, trajectory, "reach it", "desktop", split)


def test_the_owners_split_is_kept():
    assert [split_of(task(split=s), 0.5) for s in ("train", "test", "test_task", "heldout")] == [
        "train",
        "test",
        "test_task",
        "heldout",
    ]
    assert split_of(task(split="validation"), 0.0) == split_of(task(split="val"), 0.0) == "val"


def test_without_one_a_share_of_the_ids_is_val():
    splits = [split_of(task(str(n)), 0.02) for n in range(5000)]
    assert 70 < splits.count("val") < 130  # 100 expected, three standard deviations are 30
    assert splits == [split_of(task(str(n)), 0.02) for n in range(5000)]
    more = [split_of(task(str(n)), 0.1) for n in range(5000)]
    assert all(b == "val" for a, b in zip(splits, more, strict=True) if a == "val")


@pytest.mark.parametrize("dataset", ["android_control", "gui_odyssey", "multimodal_mind2web"])
def test_a_benchmarks_trajectory_without_a_split_has_none(dataset):
    assert split_of(task(dataset=dataset), 0.02) is None
    assert split_of(task(split="train", dataset=dataset), 0.02) == "train"


def test_names_of_test_splits():
    assert all(map(is_test, ("test", "Test", "test_task", "test-website", "random_test")))
    assert not any(map(is_test, ("train", "val", "contest", "latest", "testing_ground")))


def test_what_is_asked_for():
    splits = ("train", "val", "test", "test_task", "heldout")
    assert [s for s in splits if is_wanted(s, ("train", "val"))] == ["train", "val"]
    assert [s for s in splits if is_wanted(s, ("test",))] == ["test", "test_task"]
    assert [s for s in splits if is_wanted(s, ("all",))] == list(splits)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("on_bad_step", ["error", "warn"])
def test_nobody_trains_on_a_test_split(tmp_path, shards, workers, on_bad_step):
    [path] = write_shards([trajectory("a", 2)], tmp_path, split="test_task", prefix="toy")
    sets = {"toy": {"train": [str(path)]}}
    stream = module([], sets=sets, num_workers=workers, on_bad_step=on_bad_step).train_stream()
    message = r"step 'toy-a-000' is of the split 'test_task': a test split is never trained on.*data.sets.toy.train"
    with pytest.raises(DataError, match=message):
        next(stream)


def test_a_test_split_can_be_validated_on(tmp_path, shards):
    paths = write_shards([trajectory("a", 2)], tmp_path, split="test", prefix="toy")
    data = module([], sets={"toy": {"train": shards, "val": [str(path) for path in paths]}})
    assert len(data.val_steps()) == 2
    assert len(keys(data.train_stream(), 5)) == 5
