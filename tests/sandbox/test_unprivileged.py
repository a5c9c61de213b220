"""The same attacks and the same behaviour where the sandbox is started by an ordinary user, without any capability."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NOBODY = 65534


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="the other tests of this folder already run as an ordinary user")
def test_an_ordinary_user_is_as_safe(bubblewrap_works: None, tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("home")
    os.chown(home, NOBODY, NOBODY)
    for above in (home, *home.parents[:2]):  # pytest's own folders are root's alone
        above.chmod(0o755)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={home / 'tmp'}"]
    ran = subprocess.run(
        [sys.executable, str(HERE / "as_nobody.py"), str(NOBODY), *tests, str(HERE / "test_attacks.py"), str(HERE / "test_bubblewrap.py")],
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert "skipped" not in ran.stdout
