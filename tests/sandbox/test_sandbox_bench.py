"""tools/bench_sandbox.py prints its figures, and says in one line what it cannot do."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "bench_sandbox.py"


def bench(*arguments: str, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.mark.slow
def test_it_prints_its_figures(bubblewrap_works: None):
    ran = bench("--calls", "3", "--seconds", "0.5", "--workers", "1")
    assert ran.returncode == 0, ran.stderr
    for word in (
        "call (session of its own)",
        "python -I -c pass",
        "calls/s",
        "fork bomb",
        "endless loop",
        "output cut",
    ):
        assert word in ran.stdout
    assert float(ran.stdout.split("endless loop")[1].split()[0]) < 4.0


def test_without_a_sandbox_it_says_what_to_install(tmp_path: Path):
    ran = bench(env={"PATH": str(tmp_path)})
    assert ran.returncode == 2
    assert "apt-get install bubblewrap" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_wrong_number_is_refused():
    assert "--calls must be at least 2" in bench("--calls", "0").stderr
    assert "invalid choice" in bench("--sandbox", "unsafe").stderr
