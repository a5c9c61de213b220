"""The file of a round's rollouts: what is written is read, bit for bit, whole or not at all."""

import gzip
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tracer1.engines.rollout_file import RolloutRecord, read_rollouts, rollout_path, write_rollouts
from tracer1.errors import DataError

RECORD = RolloutRecord(
    round=1,
    key="toy-a-000",
    i=0,
    seed=2**63 - 1,
    token_ids=(5, 7),
    logprobs=(-0.1234567890123456789, -math.pi),
    text='<think>é "</think>\n',
    truncated=False,
    reward=1 / 3,
    terms={"format": 0.1},
    advantage=-0.7,
)


def test_what_is_written_is_read(tmp_path: Path):
    second = replace(RECORD, round=2, i=1, seed=0, token_ids=(), logprobs=(), truncated=True, advantage=None)
    write_rollouts(rollout_path(tmp_path / "new", 2), [second])
    write_rollouts(rollout_path(tmp_path / "new", 1, rank=1), [RECORD])
    assert list(read_rollouts(tmp_path / "new")) == [RECORD, second]
    assert list(read_rollouts(rollout_path(tmp_path / "new", 2))) == [second]
    assert RECORD.response.token_ids == (5, 7)


def test_the_same_rollouts_give_the_same_bytes_and_a_repeated_round_replaces_its_file(tmp_path: Path):
    path = rollout_path(tmp_path, 1)
    write_rollouts(path, [replace(RECORD, reward=0.0)])
    write_rollouts(path, [RECORD])
    first = path.read_bytes()
    write_rollouts(path, [RECORD])
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["round-000001-rank0.jsonl.gz"]


def test_a_later_version_may_write_more(tmp_path: Path):
    path = rollout_path(tmp_path, 1)
    write_rollouts(path, [RECORD])
    line = gzip.decompress(path.read_bytes()).decode().rstrip("\n").removesuffix("}") + ', "more": 1}\n'
    path.write_bytes(gzip.compress(line.encode()))
    assert list(read_rollouts(tmp_path)) == [RECORD]


DAMAGED = [b"", b"not gzip", *(gzip.compress(line, mtime=0) for line in (b"{}\n", b"{\n", b"[1]\n"))]


@pytest.mark.parametrize("damage", DAMAGED)  # their names must not tell the time: workers compare them
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes):
    path = rollout_path(tmp_path, 1)
    path.write_bytes(damage)
    if not damage:
        assert list(read_rollouts(tmp_path)) == []
        return
    with pytest.raises(DataError, match=r"round-000001-rank0.jsonl.gz cannot be read after line"):
        list(read_rollouts(tmp_path))


def test_a_file_that_was_cut_off_is_an_error(tmp_path: Path):
    path = rollout_path(tmp_path, 1)
    write_rollouts(path, [RECORD] * 50)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rollouts(tmp_path))


def test_no_rollouts_and_no_room_are_said(tmp_path: Path):
    with pytest.raises(DataError, match=r"holds no recorded rollouts .* rollout.dump=DIR"):
        list(read_rollouts(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written: .* another rollout.dump"):
        write_rollouts(rollout_path(tmp_path / "file", 1), [RECORD])
