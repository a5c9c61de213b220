"""Steps that lack what the reward needs are kept out of the stream, not out of their neighbours; order and resume hold."""

import logging
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from toy_steps import trajectory
from toy_streams import keys, module

from tracer1.data.shards import write_shards
from tracer1.errors import ConfigError, DataError
from tracer1.schema import Step
from tracer1.training.recipes import make_steps

PLACES = ("screenshot", "place")


def without(step: Step, *what: str) -> Step:
    """The step without its screenshot or its place; the place is taken out of its neighbours' plans too."""
    if "screenshot" in what:
        step = replace(step, screenshot=None, image_size=None)
    if "place" in what:
        first = replace(step.future[0], action=replace(step.future[0].action, point=None))
        step = replace(step, boxes=(), future=(first, *step.future[1:]))
    return step


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> list[str]:
    """Four shards of three trajectories of nine steps (clicks at 0, 4 and 8): the middle one of each shard lacks the place of
    its clicks at 0 and 4, the last has no screenshots at all."""
    folder, paths = tmp_path_factory.mktemp("mixed"), []
    for n in range(4):
        whole, placeless, blind = (trajectory(f"{n}{kind}", 9) for kind in "wpb")
        placeless = [without(step, *(["place"] if step.index in (0, 4) else [])) for step in placeless]
        blind = [without(step, "screenshot") for step in blind]
        paths += write_shards([whole, placeless, blind], folder, split="train", prefix=f"m{n}")
    return [str(path) for path in paths]


EVERY = {f"toy-{n}{kind}-{t:03d}" for n in range(4) for kind in "wpb" for t in range(9)}
LEFT = {key for key in EVERY if key[5] == "b" or (key[5] == "p" and key[-3:] in ("000", "004"))}


def test_steps_that_lack_something_never_come(mixed, caplog):
    stream = module(mixed, needs=PLACES).train_stream()
    with caplog.at_level(logging.INFO):
        epoch = keys(stream, 64)
        assert set(epoch) == EVERY - LEFT
        assert len(epoch) == len(EVERY - LEFT) == 64
        assert set(keys(stream, 64)) == EVERY - LEFT
        keys(stream, 64)
    assert stream.streams["toy"].left_out == {"screenshot": 36, "place": 8}
    lines = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(lines) == 2  # at the first of them, and when the whole epoch is known: not in every epoch
    assert lines[-1] == (
        "toy: steps left out because of data.needs, in a whole epoch: 36 without a screenshot; 8 without the place of its "
        "action: a point or a box, and the end of a drag."
    )
    assert set(keys(module(mixed).train_stream(), 108)) == EVERY  # nothing is left out unless something is needed


def test_they_stay_in_the_history_and_future_of_the_others(mixed):
    steps = {step.key: step for step in islice(module(mixed, needs=PLACES).train_stream(), 64)}
    step = steps["toy-0p-003"]
    assert [past.number for past in step.history] == [1, 2, 3]
    assert [plan_step.number for plan_step in step.future] == [4, 5, 6, 7, 8, 9]
    assert step.history[0].action.point is None
    assert step.future[1].action.action_type == "click"


def test_validation_leaves_them_out_and_counts_them(mixed, caplog):
    data = module([], sets={"toy": {"val": mixed}}, needs=PLACES)
    with caplog.at_level(logging.INFO):
        assert {step.key for step in data.val_steps()} == EVERY - LEFT
    lines = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert lines == [
        "toy: validation steps left out because of data.needs: 36 without a screenshot; 8 without the place of its action: "
        "a point or a box, and the end of a drag."
    ]
    assert len(module([], sets={"toy": {"val": mixed}}, needs=PLACES, val_limit=10).val_steps()) == 10


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_a_resume_change_nothing(mixed, workers):
    stream = module(mixed, needs=PLACES).train_stream()
    everything = keys(stream, 200)
    for position in (0, 5, 31, 63, 64, 65, 130):
        stream = module(mixed, needs=PLACES, num_workers=workers).train_stream()
        keys(stream, position)
        again = module(mixed, needs=PLACES, num_workers=workers).train_stream()
        again.load_state_dict(stream.state_dict())
        assert keys(again, 60) == everything[position : position + 60]
        stream.close()
        again.close()


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ranks_share_what_is_left(mixed, ranks):
    """With eight ranks the trajectories are split; the four without a usable step are nobody's share."""
    seen, counted = Counter(), Counter()
    for rank in range(ranks):
        stream = module(mixed, needs=PLACES).train_stream(rank, ranks)
        for step in stream:
            if stream.epoch == 1:
                break
            seen[step.key] += 1
        counted += stream.streams["toy"].left_out
    assert set(seen) == EVERY - LEFT
    assert set(seen.values()) == {1}
    if (
        ranks == 8
    ):  # with fewer, a rank has other shards in the next epoch, whose first steps were loaded to see its end
        assert counted == {"screenshot": 36, "place": 8}


def test_other_needs_start_the_epoch_again(mixed, caplog):
    stream = module(mixed, needs=PLACES).train_stream()
    keys(stream, 70)
    state = stream.state_dict()
    other = module(mixed).train_stream()
    with caplog.at_level(logging.WARNING):
        other.load_state_dict(state)
    changed = [message for message in caplog.messages if "data.needs changed" in message]
    assert changed == ["toy: data.needs changed since the checkpoint; going on from the start of epoch 1."]
    for saved in state["sets"].values():
        del saved["needs"]  # as checkpoints from before were
    caplog.clear()
    other.load_state_dict(state)
    assert caplog.messages == []
    assert other.state_dict()["sets"]["toy"]["offset"] == state["sets"]["toy"]["offset"]


def test_a_data_set_without_a_usable_step_is_told(tmp_path):
    steps = [without(step, "screenshot") for step in trajectory("a", 3)]
    [path] = write_shards([steps], tmp_path, split="train", prefix="toy")
    with pytest.raises(
        DataError, match=r"what it has is left out because of data.needs, 3 without a screenshot. Train on"
    ):
        next(module([str(path)], needs=PLACES).train_stream())


def test_unknown_needs_are_refused(mixed):
    with pytest.raises(ConfigError, match=r"data.needs names 'picture'. Known: screenshot, place, box"):
        module(mixed, needs=["picture"])


STAGE1, STAGE2 = (
    {"terms": {"trajectory_alignment": {}, "format": {}}},
    {"terms": {"coordinate_match": {}, "format": None}},
)


@pytest.mark.parametrize(
    ("reward", "asked", "needs"),
    [
        (STAGE1, {}, ()),
        (STAGE2, {}, PLACES),
        (STAGE2, {"needs": None}, PLACES),
        (STAGE2, {"needs": []}, ()),
        (STAGE1, {"needs": ["box"]}, ("box",)),
    ],
)
def test_the_reward_says_what_steps_need_unless_the_config_does(mixed, reward, asked, needs):
    assert make_steps({"sets": {"toy": {"train": mixed}}, **asked}, reward).needs == needs
