"""What a conversion shows while it runs, and how much memory it takes."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tracer1.data import conversion_progress
from tracer1.data.conversion_progress import MILLION, Display, Ticker, share_read, weight
from tracer1.interfaces import Unit

ROOT = Path(__file__).parents[2]


def display(units, board) -> tuple[Display, io.StringIO]:
    said = io.StringIO()
    return Display(Console(file=said, width=100), "toy", units, board), said


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told otherwise."""
    now = [1000.0]
    monkeypatch.setattr(conversion_progress.time, "monotonic", lambda: now[0])
    return now


UNITS = [Unit("a", "absent", 0, 300), Unit("b", "absent", 300, 400)]  # three quarters and one quarter


def test_counts_speed_and_time_left(clock):
    board = [0] * 6
    shown, _ = display(UNITS, board)
    board[:] = [2, 40, MILLION // 2, 1, 20, 0]
    clock[0] += 30.0
    assert shown.text() == "3 trajectories, 60 steps, 2 steps/s, 0:00:50 left"  # 3/8 in 30 s


def test_what_an_earlier_run_did_is_no_speed(clock):
    board = [9, 1000, MILLION, 0, 0, 0]
    shown, _ = display(UNITS, board)
    board[:] = [9, 1000, MILLION, 1, 50, MILLION // 2]
    clock[0] += 10.0
    assert shown.text() == "10 trajectories, 1,050 steps, 5 steps/s, 0:00:10 left"


def test_nothing_is_promised_before_anything_is_known(clock):
    shown, _ = display(UNITS, [0] * 6)
    clock[0] += 10.0
    assert shown.text() == "0 trajectories, 0 steps, 0 steps/s"


def test_without_a_terminal_a_plain_line_comes_now_and_then(clock):
    board = [1, 2, MILLION, 0, 0, 0]
    shown, said = display(UNITS, board)
    with shown:
        for _ in range(10):
            clock[0] += 7.0
            shown.update()
    assert said.getvalue() == "toy: 75%, 1 trajectories, 2 steps, 0 steps/s\n" * 2


def test_the_place_in_the_open_file_says_how_far_a_unit_is(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(bytes(1000))
    whole, part, rows = Unit("w", str(path)), Unit("p", str(path), 200, 600), Unit("r", str(path), 0, 10**9)
    assert share_read(whole) == 0.0
    with open(path, "rb", buffering=0) as stream:
        stream.seek(500)
        assert share_read(whole) == 0.5
        assert share_read(part) == 0.75
        assert share_read(rows) < 0.01
    assert share_read(Unit("x", str(tmp_path / "absent"))) == 0.0
    assert [weight(unit) for unit in (whole, part, Unit("x", "absent"))] == [1000, 400, 1]


def test_the_ticker_looks_once_a_second(tmp_path, clock):
    path = tmp_path / "raw"
    path.write_bytes(bytes(1000))
    board = [0] * 6
    ticker = Ticker(board, 1, Unit("w", str(path)))
    with open(path, "rb", buffering=0) as stream:
        stream.seek(250)
        assert not ticker(1, 5)
        assert board == [0, 0, 0, 1, 5, 0]
        clock[0] += 1.0
        assert ticker(2, 9)
    assert board == [0, 0, 0, 2, 9, MILLION // 4]
    ticker.finish()
    assert board[-1] == MILLION


CONVERT = """
import json, resource, sys
from pathlib import Path
import toy_raw
from rich.console import Console
from tracer1.data.conversion import Conversion, convert
toy_raw.picture = lambda seed, image=toy_raw.picture(1, size=(600, 600)): image  # 1 MB
convert(Conversion("toy_raw", Path(sys.argv[1]), Path(sys.argv[2]), workers=1, max_shard_mb=20), Console(file=open("/dev/null", "w")))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_source(tmp_path):
    """Ten times as many trajectories of 4 MB, in one unit, take no more than 8 MB more."""
    peaks = []
    for count in (4, 40):
        raw = tmp_path / f"raw{count}"
        raw.mkdir()
        lines = [json.dumps({"id": str(n), "steps": 4}) for n in range(count)]
        (raw / "a.raw").write_text("\n".join(lines) + "\n")
        given = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{Path(__file__).parent}"}
        command = [sys.executable, "-c", CONVERT, str(raw), str(tmp_path / f"out{count}")]
        peaks.append(float(subprocess.run(command, env=given, capture_output=True, text=True, check=True).stdout))
    size = sum(path.stat().st_size for path in (tmp_path / "out40").glob("*.tar")) / 1e6
    assert size > 150
    assert peaks[1] < peaks[0] + 8
