"""The same attacks and the same behaviour where the sandbox is started by an ordinary user, without any capability."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NOBODY = 65534


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="the other tests of this folder already run as an ordinary user")
def test_an_ordinary_user_is_as_safe(bubblewrap_works: None):
    with tempfile.TemporaryDirectory(prefix="tracer1-") as home:  # pytest's own folders are root's alone
        os.chown(home, NOBODY, NOBODY)
        ran = attacked_as_nobody(home)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert "skipped" not in ran.stdout.replace("1 skipped", "")  # the test of cgroups


def attacked_as_nobody(home: str) -> subprocess.CompletedProcess:
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={home}/tmp"]
    files = [str(HERE / f"test_{name}.py") for name in ("attacks", "bubblewrap", "recovery")]
    return subprocess.run(
        [sys.executable, str(HERE / "as_nobody.py"), str(NOBODY), *tests, *files],
        env={**os.environ, "HOME": home, "XDG_CACHE_HOME": home, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
