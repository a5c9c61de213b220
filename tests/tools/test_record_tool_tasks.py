"""The command that records tool-use tasks: what it writes, twice the same, and what it says of mistakes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "record_tool_tasks.py"


def run(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", **({} if path is None else {"PATH": path})}
    command = [sys.executable, str(TOOL), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("seeds", ["5:2", "3", "a:b", "3:3", ":4"])
def test_a_range_that_is_none(seeds: str):
    done = run("--seeds", seeds)
    assert done.returncode == 2
    assert f"{seeds!r} is no range of seeds; write 0:600" in done.stderr


def test_without_a_sandbox_it_says_in_one_line_what_to_install(tmp_path: Path):
    done = run("--seeds", "0:1", "--out", str(tmp_path / "out"), path=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "apt-get install bubblewrap" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    done = run("--seeds", "0:1", "--out", str(tmp_path / "file"), "--sandbox", "unsafe")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_the_same_seeds_give_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path):
    if shutil.which("bwrap") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have bubblewrap: apt-get install bubblewrap")
        pytest.skip("bubblewrap is not installed: apt-get install bubblewrap")
    written = []
    for workers in ("1", "3"):
        out = tmp_path / workers
        done = run("--seeds", "0:6", "--split", "heldout", "--out", str(out), "--workers", workers)
        assert done.returncode == 0, done.stderr
        assert "6 tasks of 6" in done.stderr
        written.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()})
    assert written[0] == written[1]
    assert Path("tool_tasks-heldout-000000.tar.gz") in written[0]
