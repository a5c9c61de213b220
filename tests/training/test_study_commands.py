"""Commands run in processes of their own, which share imports and nothing else."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tracer1.training.study import commands

SRC = Path(commands.__file__).parents[3]


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where entry points are looked for, without the heavy imports."""
    folder = tmp_path / "src" / "tracer1"
    folder.mkdir(parents=True)
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(commands, "_PRELOADED", ())
    return folder


def test_a_command_sees_its_arguments_and_leaves_nothing_behind(scripts: Path, tmp_path: Path):
    (scripts / "train.py").write_text(
        "import os, sys, random\n"
        "assert __name__ == '__main__' and not hasattr(random, 'left_behind')\n"
        "random.left_behind = 1\n"
        f"open({str(tmp_path / 'said')!r}, 'a').write(' '.join(sys.argv[1:]) + f' {{os.getpid()}}\\n')\n"
    )
    commands.call("train.py", ["a=1", "b=x y"])
    commands.call("train.py", ["c=3"])
    first, second = (tmp_path / "said").read_text().splitlines()
    assert first.startswith("a=1 b=x y ")
    assert second.startswith("c=3 ")
    assert len({first.split()[-1], second.split()[-1], str(os.getpid())}) == 3


def test_codes(scripts: Path):
    (scripts / "eval.py").write_text("import sys\nsys.exit(int(sys.argv[1]))\n")
    commands.call("eval.py", ["0"])
    with pytest.raises(commands.CommandFailed, match=r"eval\.py ended with code 2"):
        commands.call("eval.py", ["2"])
    with pytest.raises(KeyboardInterrupt):
        commands.call("eval.py", ["130"])


@pytest.mark.parametrize("during", ["the command", "the imports"])
def test_ctrl_c_is_quiet_and_waits_for_the_command_to_clean_up(during: str, tmp_path: Path):
    (tmp_path / "slow_import.py").write_text(
        f"import time\nfrom pathlib import Path\nPath({str(tmp_path / 'importing')!r}).touch()\n"
        f"time.sleep({3 if during == 'the imports' else 0})\n"
    )
    folder = tmp_path / "src" / "tracer1"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(
        textwrap.dedent(f"""
            import sys, time
            from pathlib import Path
            try:
                Path({str(tmp_path / "begun")!r}).touch()
                time.sleep(60)
            except KeyboardInterrupt:
                time.sleep(0.3)
                Path({str(tmp_path / "saved")!r}).touch()
                sys.exit(130)
        """)
    )
    main = tmp_path / "main.py"
    main.write_text(
        textwrap.dedent(f"""
            import sys
            sys.path.insert(0, {str(SRC)!r})
            from pathlib import Path
            from tracer1.training.study import commands
            if __name__ == "__main__":
                commands.ROOT, commands._PRELOADED = Path({str(tmp_path)!r}), ("slow_import",)
                try:
                    commands.call("train.py", [])
                except KeyboardInterrupt:
                    sys.exit(7)
        """)
    )
    program = subprocess.Popen(
        [sys.executable, str(main)],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    sign = tmp_path / ("begun" if during == "the command" else "importing")
    try:
        end = time.monotonic() + 60
        while not sign.exists() and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(program.pid, signal.SIGINT)  # what a terminal does
        _, said = program.communicate(timeout=60)
        assert program.returncode == 7
        assert (tmp_path / "saved").exists() == (during == "the command")
        assert "Traceback" not in said
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.stderr.close()
