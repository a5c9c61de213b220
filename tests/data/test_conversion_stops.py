"""A conversion that is killed or stopped goes on, and what comes out is what an undisturbed run gives, byte for byte."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_conversion import content, run
from toy_raw import write_raw

from tracer1.data.conversion_state import Folder

TOOL = Path(__file__).parents[2] / "tools" / "make_shards.py"
OPTIONS = ("--plugin", "toy_raw", "--max-shard-mb", "0.01", "--val-fraction", "0.3", "--split", "all")
PATIENCE_S = 60.0


def start(source: Path, out: Path, *options, delay: float = 0.02) -> subprocess.Popen:
    """The tool in a process group of its own, slowed down by a delay in seconds before each trajectory."""
    command = [sys.executable, TOOL, "toy_raw", "--source", source, "--out", out, *OPTIONS, *options]
    given = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "TOY_DELAY": str(delay)}
    return subprocess.Popen(
        list(map(str, command)), env=given, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"), units=8, lines=9, seed=3)


@pytest.fixture(scope="module")
def expected(source, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("done") / "out"
    run(source, out, splits=("all",))
    return content(out)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "group"), [(1, False), (2, False), (2, True)])
def test_kills_at_any_time_change_nothing(source, expected, tmp_path, workers, group):
    """Each run is killed somewhere after its first new shard: the main process alone, or its workers with it."""
    draw, kills, kept = random.Random(workers), 0, {}
    while True:
        process = start(source, tmp_path, "--workers", workers)
        if kills < 6:
            before = set(tmp_path.glob("*.tar"))
            wait_for(
                lambda before=before, process=process: (
                    set(tmp_path.glob("*.tar")) - before or process.poll() is not None
                )
            )
            time.sleep(draw.uniform(0, 0.3))
            with contextlib.suppress(ProcessLookupError):  # it had finished
                (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        said = process.communicate()[1]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
        if Folder(tmp_path).done():  # killed while it forgot, at the very end, what was renamed
            kept = {}
            continue
        states = [json.loads(path.read_text()) for path in tmp_path.glob(".conversion/units/*.json")]
        renamed = {name for state in states for name in state["renamed"]}
        for (
            path,
            mark,
        ) in kept.items():  # finished ones are not written again, unless their ids came before in other units
            assert path.stat().st_mtime_ns == mark or path.name in renamed
        kept = {(path := tmp_path / name): path.stat().st_mtime_ns for state in states for name in state["shards"]}
    assert kills >= 3
    assert content(tmp_path) == expected


def test_workers_leave_with_a_killed_main_process(source, tmp_path):
    process = start(source, tmp_path, "--workers", 2, delay=0.2)
    wait_for(lambda: list(tmp_path.glob("*.tar")))
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.communicate()
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_one_line_and_the_same_command_goes_on(source, expected, tmp_path, workers):
    process = start(source, tmp_path, "--workers", workers, delay=0.1)
    wait_for(lambda: list(tmp_path.glob(".conversion/units/*.json")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert said == "Stopped. What is finished is kept: run the same command again to go on.\n"
    assert process.returncode == 130
    assert not list(tmp_path.rglob("*.tmp"))
    process = start(source, tmp_path, "--workers", workers, delay=0)
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0
    assert said.startswith("Going on: ")
    assert content(tmp_path) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy_rwa", "--source", "x", "--out", "y"], "No data set 'toy_rwa'. Did you mean 'toy_raw'?"),
        (["toy_raw", "--source", "absent", "--out", "y"], "There is no absent. Correct --source"),
        (["toy_raw", "--source", "x", "--out", "y", "--limit", "0"], "--limit is 0; it must be at least 1"),
        (["toy_raw", "--source", "x", "--out", "y", "--plugin", "no_such"], "The plugin 'no_such' cannot be imported"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, message):
    given = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(TOOL), *arguments, "--plugin", "toy_raw"]
    done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert done.stderr.startswith(f"make_shards: {message}")
    assert done.stderr.count("\n") == 1
