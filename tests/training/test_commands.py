"""Commands run in processes of their own, which share imports and nothing else."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tracer1.training import commands

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

    with pytest.raises(SystemExit) as stopped:  # a time limit
        commands.call("eval.py", ["75"])
    assert stopped.value.code == 75


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen]]:
    """`study(during)`: a program that calls a command, when that has begun, or is still among its imports."""
    folder = tmp_path / "src" / "tracer1"
    folder.mkdir(parents=True)
    begun: list[subprocess.Popen] = []

    def begin(during: str) -> subprocess.Popen:
        sign = tmp_path / during
        slow = 3 if during == "importing" else 0
        (tmp_path / "slow_import.py").write_text(
            f"import time\nfrom pathlib import Path\nPath({str(tmp_path / 'importing')!r}).touch()\ntime.sleep({slow})\n"
        )
        (folder / "train.py").write_text(COMMAND.format(folder=str(tmp_path)))
        (tmp_path / "main.py").write_text(CALLER.format(folder=str(tmp_path), src=str(SRC)))
        program = subprocess.Popen(
            [sys.executable, str(tmp_path / "main.py")],
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
        )
        begun.append(program)
        until(sign.exists)
        return program

    yield begin
    for program in begun:
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait(10)
        program.stderr.close()


COMMAND = """
import os, signal, sys, time
from pathlib import Path
asked = []
def leave(signum, frame):  # as a training does: a group's signal comes twice
    if not asked:
        asked.append(signum)
        raise SystemExit(75)
signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGUSR1, leave)
try:
    Path({folder!r}, "pid").write_text(str(os.getpid()))
    Path({folder!r}, "begun").touch()
    time.sleep(60)
except (KeyboardInterrupt, SystemExit) as stop:
    while not Path({folder!r}, "may_end").exists():  # what is under way is finished
        time.sleep(0.02)
    Path({folder!r}, "saved").touch()
    sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)
"""
CALLER = """
import fcntl, sys
sys.path.insert(0, {src!r})
from pathlib import Path
from tracer1.training import commands
if __name__ == "__main__":
    commands.ROOT, commands._PRELOADED = Path({folder!r}), ("slow_import",)
    try:
        with Path({folder!r}, "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            commands.call("train.py", [], commands.Held(lock.fileno()))
    except KeyboardInterrupt:
        sys.exit(7)
"""


def until(true: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def locked(path: Path) -> bool:
    """Whether another process holds the lock."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("during", ["begun", "importing"])
def test_ctrl_c_is_quiet_and_waits_for_the_command_to_clean_up(study: Callable, during: str, tmp_path: Path):
    program = study(during)
    (tmp_path / "may_end").touch()
    os.killpg(program.pid, signal.SIGINT)  # what a terminal does
    _, said = program.communicate(timeout=60)
    assert program.returncode == 7
    assert (tmp_path / "saved").exists() == (during == "begun")
    assert "Traceback" not in said


@pytest.mark.parametrize("during", ["begun", "importing"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("to", [os.kill, os.killpg], ids=["the caller", "the group"])
def test_who_is_asked_to_stop_passes_it_on_and_waits(
    study: Callable, to: Callable, signum: int, during: str, tmp_path: Path
):
    program = study(during)
    (tmp_path / "may_end").touch()
    to(program.pid, signum)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 75
    assert (tmp_path / "saved").exists() == (during == "begun")
    assert said.splitlines()[-1] == "Stopped. Run the same command again: it goes on where it was."
    assert "Traceback" not in said


def test_a_wait_between_two_commands_ends_when_asked(capsys: pytest.CaptureFixture[str]):
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with commands.leaving_when_asked(), pytest.raises(SystemExit) as stopped:
        time.sleep(60)
    assert stopped.value.code == 75
    assert "Run the same command again" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_ends_as_a_program_does(scripts: Path, tmp_path: Path):
    (scripts / "train.py").write_text(
        f"import atexit, pathlib\natexit.register(pathlib.Path({str(tmp_path / 'left')!r}).touch)\nraise SystemExit(0)\n"
    )
    commands.call("train.py", [])
    assert (tmp_path / "left").exists()


def test_the_command_of_a_killed_caller_stops_and_keeps_the_lock_until_then(study: Callable, tmp_path: Path):
    program = study("begun")
    command = int((tmp_path / "pid").read_text())
    os.kill(program.pid, signal.SIGKILL)
    program.wait(10)
    assert locked(tmp_path / "lock")
    (tmp_path / "may_end").touch()
    until((tmp_path / "saved").exists)
    until(lambda: not locked(tmp_path / "lock"))
    until(lambda: not Path(f"/proc/{command}").exists())
