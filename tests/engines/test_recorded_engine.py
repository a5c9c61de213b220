"""The recorded engine: responses by seed, whatever the order, and what it says when one is not there."""

from pathlib import Path

import pytest

from tracer1.engines import ENGINES
from tracer1.engines.recorded import RecordedEngine
from tracer1.engines.rollout_file import RolloutRecord, rollout_path, write_rollouts
from tracer1.errors import EngineError
from tracer1.interfaces import Sampling
from tracer1.schema import Prompt


def record(round_number: int, key: str, i: int) -> RolloutRecord:
    seed = 1000 * round_number + 100 * ord(key) + i
    return RolloutRecord(round_number, key, i, seed, (seed, 7), (-0.5, -0.25), f"{key}{i}", i == 1, 0.5)


def seed_of(round_number: int, key: str, i: int) -> int:
    return record(round_number, key, i).seed


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Three rounds of two ranks: rank 0 has step a, rank 1 step b; two responses each."""
    for round_number in (1, 2, 3):
        for rank, key in enumerate("ab"):
            records = [record(round_number, key, i) for i in range(2)]
            write_rollouts(rollout_path(tmp_path, round_number, rank), records)
    return tmp_path


def ask(engine: RecordedEngine, round_number: int, keys: str = "ab", n: int = 2) -> list[str]:
    prompts = [Prompt(key, (1,), {}) for key in keys]
    with engine.serving(None):
        responses = engine.generate(
            prompts, Sampling(), [[seed_of(round_number, k, i) for i in range(n)] for k in keys]
        )
    assert [r.token_ids[0] for r in responses] == [seed_of(round_number, k, i) for k in keys for i in range(n)]
    return [r.text for r in responses]


def test_a_round_comes_back_group_adjacent_with_everything_that_was_sampled(dump: Path):
    engine = RecordedEngine(str(dump))
    assert ask(engine, 1) == ["a0", "a1", "b0", "b1"]
    (first, second) = engine.generate([Prompt("a", (1,), {})], Sampling(), [[seed_of(1, "a", 0), seed_of(1, "a", 1)]])
    assert (first.logprobs, first.truncated, second.truncated) == ((-0.5, -0.25), False, True)


def test_rounds_may_be_asked_for_again_and_in_any_order(dump: Path):
    engine = RecordedEngine(str(dump))
    for round_number in (1, 2, 3, 2, 3, 1, 1, 3):
        assert ask(engine, round_number) == ["a0", "a1", "b0", "b1"]
    assert ask(engine, 2, "b") == ["b0", "b1"]  # a rank of another split


def test_one_round_is_held_at_a_time(dump: Path):
    engine = RecordedEngine(str(dump))
    for round_number in (1, 2, 3):
        ask(engine, round_number)
        assert len(engine._records) == 4


def test_an_unknown_seed_of_a_known_step_names_the_rounds_that_have_it(dump: Path):
    engine = RecordedEngine(str(dump))
    expected = (
        r"Response 1 to step 'a' \(seed 5\) is not among the 3 rounds in .*rounds \[1, 2, 3\] answered .* other seeds"
    )
    with pytest.raises(EngineError, match=expected):
        engine.generate([Prompt("a", (1,), {})], Sampling(), [[seed_of(1, "a", 0), 5]])
    assert ask(engine, 2) == ["a0", "a1", "b0", "b1"]  # and it goes on


def test_an_unknown_step_is_answered_with_what_to_do(dump: Path):
    with pytest.raises(EngineError, match=r"step 'z'.*no round answered that step.*data\.val_limit=0"):
        RecordedEngine(str(dump)).generate([Prompt("z", (1,), {})], Sampling(), [[1]])


def test_a_seed_answers_only_the_step_it_was_drawn_for(dump: Path):
    with pytest.raises(EngineError, match="step 'b'"):
        RecordedEngine(str(dump)).generate([Prompt("b", (1,), {})], Sampling(), [[seed_of(1, "a", 0)]])


def test_a_folder_without_rollouts_is_refused_at_once(tmp_path: Path):
    with pytest.raises(EngineError, match=r"holds no recorded rollouts .*rollout\.dump=DIR"):
        ENGINES.get("recorded")(folder=str(tmp_path))
