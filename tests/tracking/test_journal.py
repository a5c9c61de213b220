"""metrics.jsonl survives kills, resumes and odd numbers."""

import json
import math
from pathlib import Path

import pytest

from tracer1.errors import DataError
from tracer1.tracking.journal import Journal, RunRecord, read_lines, read_metrics


def write(path: Path, *lines: dict) -> Journal:
    journal = Journal(path)
    for line in lines:
        journal.append(line)
    return journal


def test_lines_are_readable_at_once_and_in_order(tmp_path: Path) -> None:
    write(tmp_path / "metrics.jsonl", *({"time": 1.0, "step": k, "reward/total": k / 10} for k in range(3)))
    assert [line["reward/total"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [0.0, 0.1, 0.2]


def test_resume_supersedes_later_steps_without_removing_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, *({"time": 1.0, "step": k, "reward/total": 1.0} for k in range(4)))
    write(
        path, {"time": 2.0, "resumed_at_step": 2}, *({"time": 2.0, "step": k, "reward/total": 2.0} for k in (2, 3, 4))
    )
    assert [(line["step"], line["reward/total"]) for line in read_metrics(path)] == [
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 2),
    ]
    assert len(path.read_text().splitlines()) == 8


def test_half_line_of_a_killed_process_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, {"time": 1.0, "step": 0, "reward/total": 1.0})
    with path.open("ab") as file:
        file.write(b'{"time": 1.0, "step": 1, "rew')
    assert len(read_metrics(path)) == 1
    write(path, {"time": 2.0, "step": 2, "reward/total": 2.0})
    assert [line["step"] for line in read_metrics(path)] == [0, 2]


def test_numbers_that_json_lacks_come_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, {"time": 1.0, "step": 0, "policy/kl": math.nan, "policy/loss": -math.inf})
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (line,) = read_metrics(path)
    assert math.isnan(line["policy/kl"])
    assert line["policy/loss"] == -math.inf


def test_reading_from_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, *({"time": 1.0, "step": k} for k in range(5)))
    (_, first), (_, second) = read_lines(path, limit=2)
    assert [line["step"] for line, _ in read_lines(path, second)] == [2, 3, 4]
    assert first < second


def test_record_round_trip_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert RunRecord.load(path) == RunRecord()
    RunRecord(run_id="a", sent_bytes=7).save(path)
    assert RunRecord.load(path) == RunRecord(run_id="a", sent_bytes=7)
    path.write_text("{")
    with pytest.raises(DataError, match="Delete it"):
        RunRecord.load(path)
