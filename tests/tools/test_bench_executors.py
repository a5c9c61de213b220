"""`tools/bench_executors.py` accounts for every rollout of a round."""

import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "bench_executors.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_a_small_round_and_again_from_the_cache():
    done = run("--prompts", "6", "--distinct", "2", "--faults", "0.2", "--slow-s", "3", "--timeout-s", "1")
    assert done.returncode == 0, done.stderr
    rounds = json.loads(done.stdout)
    assert rounds["first"]["outcomes"] == {"executed": 30, "cached": 18}
    assert rounds["again"]["outcomes"] == {"executed": 30, "cached": 30}
    assert rounds["first"]["answers"]["good"] == 12
    assert rounds["again"]["answers"] == {}


def test_settings_that_cannot_work_are_one_line():
    done = run("--prompts", "1", "--attempts", "0")
    assert done.returncode == 2
    assert (
        done.stderr
        == "bench_executors: executor.server: chat: attempts is 0; it must be a whole number of at least 1.\n"
    )
