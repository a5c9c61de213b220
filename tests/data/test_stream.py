"""The order of steps: the same for any number of workers, split over ranks, mixed by weight, resumed exactly."""

import json
import logging
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_steps import picture, trajectory
from toy_streams import keys, module

from tracer1.data.ordering import pick
from tracer1.data.shards import write_shards
from tracer1.errors import DataError


def test_an_epoch_holds_every_step_once_and_the_next_is_another_order(shards):
    stream = module(shards).train_stream()
    first, epoch, second = keys(stream, 42), stream.epoch, keys(stream, 42)
    assert len(set(first)) == 42 == len(set(second))
    assert set(first) == set(second)
    assert first != second
    assert (epoch, stream.epoch) == (0, 1)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_changes_nothing(shards, other, workers):
    sets = {"toy": {"train": shards}, "other": {"train": other, "weight": 0.5}}
    expected = keys(module(shards, sets=sets).train_stream(), 100)
    stream = module(shards, sets=sets, num_workers=workers).train_stream()
    assert keys(stream, 100) == expected
    state, more = stream.state_dict(), keys(stream, 30)
    stream.load_state_dict(state)
    assert keys(stream, 30) == more
    stream.close()


def test_the_seed_changes_the_order(shards):
    assert keys(module(shards).train_stream(), 42) == keys(module(shards).train_stream(), 42)
    assert keys(module(shards).train_stream(), 42) != keys(module(shards, seed=6).train_stream(), 42)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7, 8, 14])
def test_ranks_share_an_epoch_without_overlap(shards, ranks):
    """With 8 and 14 ranks there are fewer shards than ranks, and the trajectories are split instead."""
    seen = Counter()
    for rank in range(ranks):
        stream = module(shards).train_stream(rank, ranks)
        for step in stream:
            if stream.epoch == 1:
                break
            seen[step.key] += 1
    assert set(seen.values()) == {1}
    assert len(seen) == 42


def test_a_rank_without_steps_is_told(shards):
    stream = module(shards).train_stream(14, 15)  # there are 14 trajectories
    with pytest.raises(DataError, match=r"'toy' has no training step for rank 14 of 15 in its 7 shards. Write more"):
        next(stream)


@settings(max_examples=12, deadline=None)
@given(position=st.integers(0, 120), rank=st.sampled_from([(0, 1), (1, 3), (7, 8)]), blocks=st.integers(1, 8))
def test_a_resume_goes_on_with_the_same_steps(shards, other, position, rank, blocks):
    sets = {"toy": {"train": shards, "weight": 3}, "other": {"train": other, "weight": 1}}
    if rank == (7, 8):
        sets["other"]["weight"] = 0  # it has too few trajectories for eight ranks
    stream = module(shards, sets=sets, shuffle_shards=blocks).train_stream(*rank)
    keys(stream, position)
    state = stream.state_dict()
    expected = keys(stream, 40)
    again = module(shards, sets=sets, shuffle_shards=blocks).train_stream(*rank)
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert keys(again, 40) == expected


def test_every_position_around_the_end_of_an_epoch_can_be_resumed(shards):
    stream = module(shards).train_stream()
    everything = keys(stream, 130)
    for position in range(36, 90, 2):
        stream = module(shards).train_stream()
        keys(stream, position)
        again = module(shards).train_stream()
        again.load_state_dict(stream.state_dict())
        assert keys(again, 20) == everything[position : position + 20]


def test_a_changed_data_set_or_number_of_ranks_starts_its_epoch_again(shards, other, caplog):
    stream = module(shards).train_stream()
    keys(stream, 50)
    state = stream.state_dict()
    fewer = module(shards[:-1]).train_stream()
    sets = {"toy": {"train": shards}, "other": {"train": other}}
    ranks, more = module(shards).train_stream(0, 2), module(shards, sets=sets).train_stream()
    with caplog.at_level(logging.WARNING):
        for changed in (fewer, ranks, more):
            changed.load_state_dict(state)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "toy: its shards changed since the checkpoint; going on from the start of epoch 1.",
        "toy: the ranks changed since the checkpoint; going on from the start of epoch 1.",
        "other: its shards changed since the checkpoint; going on from the start of epoch 0.",
    ]
    assert fewer.epoch == ranks.epoch == 1


def read(streams: list, count: int) -> Counter:
    """What ranks side by side read, `count` steps each; those of epochs after the first are left out."""
    seen = Counter()
    for stream in streams:
        for _ in range(count):
            step = next(stream)
            if stream.epoch == 0:
                seen[step.key] += 1
    return seen


@settings(max_examples=40, deadline=None)
@given(
    worlds=st.lists(st.sampled_from([1, 2, 3, 7, 8]), min_size=2, max_size=4),
    counts=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    blocks=st.integers(1, 4),
)
def test_other_numbers_of_ranks_read_what_the_epoch_still_has(shards, worlds, counts, blocks):
    """Each step of the epoch comes once, however often the number of ranks changes within it."""
    data = module(shards, shuffle_shards=blocks)
    seen, states = Counter(), []
    for world, count in zip(worlds, counts, strict=False):
        streams = [data.train_stream(rank, world) for rank in range(world)]
        for stream in streams if states else []:
            stream.take_over([json.loads(json.dumps(state)) for state in states])
        seen += read(streams, count)
        again = [data.train_stream(rank, world) for rank in range(world)]
        for stream, other in zip(streams, again, strict=True):
            other.load_state_dict(stream.state_dict())  # the same number of ranks goes on with the same steps
            assert other.state_dict() == stream.state_dict()
        streams, states = again, [stream.state_dict() for stream in again]
    for stream in streams:
        while stream.epoch == 0:
            step = next(stream)
            if stream.epoch == 0:
                seen[step.key] += 1
    assert seen == Counter(dict.fromkeys(keys(module(shards).train_stream(), 42), 1))


def test_ranks_that_are_epochs_apart_are_taken_over(shards):
    ahead, behind = (module(shards).train_stream(rank, 2) for rank in range(2))
    first = [step.key for step in islice(ahead, 30)]  # into its second epoch
    first_behind = keys(behind, 3)
    assert (ahead.epoch, behind.epoch) == (1, 0)
    one = module(shards).train_stream()
    one.take_over([behind.state_dict(), ahead.state_dict()])
    rest = Counter(step.key for step in islice(one, 84 - 33))
    assert rest + Counter(first) + Counter(first_behind) == Counter(
        dict.fromkeys(set(keys(module(shards).train_stream(), 42)), 2)
    )
    assert one.epoch == 1
    next(one)
    assert one.epoch == 2


def test_data_sets_are_mixed_by_weight(shards, other):
    sets = {"toy": {"train": shards, "weight": 3}, "other": {"train": other, "weight": 1}}
    drawn = Counter(step.dataset for step in islice(module(shards, sets=sets).train_stream(), 2000))
    assert 0.71 < drawn["toy"] / 2000 < 0.79  # three standard deviations are 0.029
    again = module(shards, sets=sets).train_stream()
    assert Counter(step.dataset for step in islice(again, 2000)) == drawn
    assert (
        again.streams["toy"].position.epoch > again.streams["other"].position.epoch > 20
    )  # each counts its own epochs
    only = module(shards, sets={"toy": {"train": shards, "weight": 0}, "other": {"train": other}}).train_stream()
    assert {step.dataset for step in islice(only, 100)} == {"other"}


def test_pick_never_takes_a_weight_of_zero():
    assert {pick([0.0, 1.0, 0.0], n) for n in range(500)} == {1}
    assert {pick([0.0, 1e-9, 1.0, 0.0], n) for n in range(500)} == {2}


@pytest.fixture
def broken(tmp_path) -> list[str]:
    """One shard whose second trajectory has a screenshot that does not decode, at its second step."""
    steps = [trajectory(name, 3) for name in "abc"]
    [path] = write_shards(steps, tmp_path, split="train", prefix="toy")
    image = steps[1][1].screenshot
    content = path.read_bytes()
    assert content.count(image) == 1 or picture(3001) == image
    place = content.index(image, content.index(b"toy-b-001.png"))
    path.write_bytes(content[: place + 60] + bytes(40) + content[place + 100 :])
    return [str(path)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_step_stops_with_one_line(broken, workers):
    with pytest.raises(DataError, match=r"step 'toy-b-001': its screenshot does not decode") as caught:
        next(module(broken, num_workers=workers).train_stream())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_steps_are_skipped_and_warned_of_once(broken, workers, caplog):
    stream = module(broken, on_bad_step="warn", num_workers=workers).train_stream()
    with caplog.at_level(logging.WARNING):
        assert len(set(keys(stream, 7))) == 7
        assert set(keys(stream, 15)) == {"toy-a-000", "toy-a-001", "toy-a-002", "toy-b-000"} | {
            f"toy-c-00{t}" for t in range(3)
        }
    assert sum("toy-b-001" in record.getMessage() for record in caplog.records) == 1
    assert "toy: epoch 0 ends, 1 bad steps so far (logged above)." in caplog.text
    assert stream.skipped == 1
    assert len(module([], sets={"v": {"val": broken}}, on_bad_step="warn").val_steps()) == 7
    stream.close()


def test_a_loading_process_that_dies_is_told(shards):
    stream = module(shards, num_workers=1).train_stream()
    next(stream)
    for worker in stream.streams["toy"]._loads._workers:
        worker.kill()
    with pytest.raises(DataError, match=r"toy: a loading process died .*lower data.num_workers"):
        keys(stream, 100)
