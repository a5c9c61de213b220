"""The data module: what is held out, what validation sees, what a checkpoint keeps, which settings are refused."""

import logging
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from toy_steps import toy_shards
from toy_streams import keys, module

import tracer1.data
from tracer1.data.ordering import held_out
from tracer1.errors import ConfigError, DataError


def test_the_data_module_keeps_the_position(shards):
    data = module(shards)
    assert data.state_dict() == {}
    stream = data.train_stream()
    keys(stream, 50)
    state, expected = data.state_dict(), keys(stream, 20)
    before, after = module(shards), module(shards)
    before.load_state_dict(state)  # Lightning restores the data module before it asks for data ...
    assert before.state_dict() == state
    assert keys(before.train_stream(), 20) == expected
    running = after.train_stream()  # ... and tracer1 may have made its stream already
    after.load_state_dict(state)
    assert keys(running, 20) == expected
    data.teardown()


def test_each_rank_takes_its_own_position(shards):
    states, expected = [], []
    for rank in range(2):
        data = module(shards)
        stream = data.train_stream(rank, 2)
        keys(stream, 30)
        states += data.state_dict()["streams"]
        expected.append(keys(stream, 20))
    for rank in range(2):
        data = module(shards)
        data.load_state_dict({"streams": states})
        assert keys(data.train_stream(rank, 2), 20) == expected[rank]


def test_whole_trajectories_are_held_out(tmp_path):
    paths = toy_shards(tmp_path, 20, per_shard=5)
    data = module(paths, val_fraction=0.2)
    val = {step.key.rpartition("-")[0] for step in data.val_steps()}
    stream, train = data.train_stream(), Counter()
    for step in stream:
        if stream.epoch == 1:
            break
        train[step.key.rpartition("-")[0]] += 1
    assert not val & set(train)
    assert len(val) + len(train) == 100
    assert set(train.values()) == {3}
    assert 8 <= len(val) <= 32  # of 100, three standard deviations are 12
    assert module(paths, val_fraction=0.2, seed=9).val_steps() != data.val_steps()
    larger = {step.key.rpartition("-")[0] for step in module(paths, val_fraction=0.4, seed=9).val_steps()}
    assert val < larger
    assert held_out("toy", "0.0", 0.0) is False


def test_validation_steps_span_tasks_and_are_split_over_ranks(shards, other):
    sets = {"toy": {"train": shards, "val": other}, "more": {"train": None, "val": shards[0]}}
    data = module(shards, sets=sets, val_limit=9, horizon=2, history=1)
    every = data.val_steps()
    assert every == data.val_steps()
    assert len(every) == 9
    assert len({step.key.rpartition("-")[0] for step in every}) > 3
    assert {step.dataset for step in every} == {"toy", "other"}
    assert max(len(step.future) for step in every) == 2
    assert max(len(step.history) for step in every) == 1
    split = [data.val_steps(rank, 2) for rank in range(2)]
    assert [len(part) for part in split] == [5, 4]
    assert [step for pair in zip(split[0], [*split[1], None], strict=True) for step in pair if step] == every
    assert len(module(shards, sets=sets).val_steps()) == 26
    assert len(set(keys(data.train_stream(), 42))) == 42  # with `val` shards given nothing is held out


def test_no_validation_step_is_said(shards, caplog):
    with caplog.at_level(logging.WARNING):
        assert module(shards).val_steps() == []
    assert "There is no validation step" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 0}, "data.horizon is 0; it must be at least 1"),
        ({"history": -1}, "data.history is -1; it must be at least 0"),
        ({"val_fraction": 1.0}, "data.val_fraction is 1.0; give a share"),
        ({"on_bad_step": "skip"}, "data.on_bad_step is 'skip'; choose 'error' or 'warn'"),
        ({"sets": {}}, "data.sets is empty"),
        ({"sets": {"toy": {"trian": ["x.tar"]}}}, "data.sets.toy has no setting 'trian'. Did you mean 'train'"),
        ({"sets": {"toy": {"train": ["x.tar"], "weight": -1}}}, "data.sets.toy.weight is -1.0"),
        ({"sets": {"toy": {"train": []}}}, "data.sets.toy names no shards"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        module(["x.tar"], **settings)


def test_nothing_to_train_on_is_refused(shards):
    with pytest.raises(ConfigError, match="there is nothing to train on"):
        module([], sets={"toy": {"train": shards, "weight": 0}}).train_stream()
    with pytest.raises(DataError, match="No shard matches /absent/"):
        module(["/absent/*.tar"]).train_stream()


def test_horizon_and_history_reach_the_steps(shards):
    steps = list(islice(module(shards, horizon=2, history=1).train_stream(), 42))
    assert {len(step.future) for step in steps} == {1, 2}
    assert {len(step.history) for step in steps} == {0, 1}


RANK = """
import sys
from itertools import islice
import torch.distributed as dist
import tracer1.data
from tracer1.data.datamodule import StepDataModule

rank, store, shards = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
make = lambda: StepDataModule({"toy": {"train": shards}}, num_workers=0, shuffle_shards=2)
data = make()
stream = data.train_stream(rank, 2)
list(islice(stream, 30))
state = data.state_dict()
assert [s["rank"] for s in state["streams"]] == [0, 1]
expected = [step.key for step in islice(stream, 20)]
again = make()
again.load_state_dict(state)
assert [step.key for step in islice(again.train_stream(rank, 2), 20)] == expected
"""


def test_the_checkpoint_of_rank_0_holds_every_ranks_position(shards, tmp_path):
    store = tmp_path / "store"
    environment = {**os.environ, "PYTHONPATH": str(Path(tracer1.data.__file__).parents[2])}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), store, *shards], env=environment, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint.decode()
