"""`tools/launch/node.sh` with a stand-in for torchrun, and what health checks are told. `tests/training/test_stopping.py` has it train."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracer1.errors import DataError
from tracer1.training.heartbeat import EVERY_S, NAME, Heartbeat, last_sign

ROOT = Path(__file__).parents[2]

# Starts one trainer and answers 1 for any code of its, as torchrun does; ends when it is sent a signal that was not meant for it
TORCHRUN = """#!{python}
import os, subprocess, sys
open("seen", "w").write(" ".join(sys.argv[1:]))
trainer = subprocess.Popen([sys.executable, "trainer.py"])
sys.exit(1 if trainer.wait() else 0)
"""


def start(folder: Path, trainer: str, *settings: str, **more: str) -> subprocess.Popen[str]:
    (folder / "torchrun").write_text(TORCHRUN.format(python=sys.executable))
    (folder / "torchrun").chmod(0o755)
    (folder / "trainer.py").write_text(f"import os, signal, sys, time\ncode = {trainer}\n" + TELL)
    return subprocess.Popen(
        ["bash", str(ROOT / "tools" / "launch" / "node.sh"), *settings],
        env={**os.environ, "TRACER1_PYTHON": str(folder / "torchrun"), **more},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


TELL = """
def leave(code):
    if code in (2, 75):
        open(os.environ["TRACER1_EXIT_FILE"], "w").write(f"{code}\\n")
    sys.exit(code)
if code is None:
    signal.signal(signal.SIGUSR1, lambda *_: leave(75))
    open("ready", "w")
    time.sleep(60)
leave(code)
"""


@pytest.mark.parametrize(("trainer", "answer"), [("0", 0), ("2", 2), ("75", 75), ("3", 1)])
def test_the_exit_code_is_the_trainers(tmp_path: Path, trainer: str, answer: int):
    node = start(tmp_path, trainer)
    said, _ = node.communicate(timeout=60)
    assert node.returncode == answer, said


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_go_to_the_trainers(tmp_path: Path, signum: signal.Signals):
    node = start(tmp_path, "None")
    while not (tmp_path / "ready").exists():
        assert node.poll() is None, node.communicate()[0]
        time.sleep(0.02)
    node.send_signal(signum)
    said, _ = node.communicate(timeout=60)
    assert node.returncode == 75, said


def test_what_torchrun_is_told(tmp_path: Path):
    names = {"TRACER1_NODES": "2", "TRACER1_GPUS": "4", "JOB_COMPLETION_INDEX": "1", "MASTER_ADDR": "node0"}
    start(tmp_path, "0", "run_name=a", **names).communicate(timeout=60)
    train = ROOT / "src" / "tracer1" / "train.py"
    assert (tmp_path / "seen").read_text() == (
        "-m torch.distributed.run --nnodes 2 --node-rank 1 --nproc-per-node 4 --max-restarts 0 "
        f"--master-addr node0 --master-port 29400 {train} run_name=a"
    )


# --- signs of life -----------------------------------------------------------------------------------------------------------


def test_a_heartbeat_is_written_now_and_then(tmp_path: Path):
    now = [100.0]
    beat = Heartbeat(tmp_path / "run", lambda: now[0])
    for seconds, stage in ((0, "generating"), (EVERY_S - 1, "scoring"), (1, "updating")):
        now[0] += seconds
        beat(stage)
        assert (tmp_path / "run" / NAME).read_text() == f"{'updating' if stage == 'updating' else 'generating'}\n"


def test_a_disk_that_takes_no_heartbeat_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "run").write_text("a file, no folder")
    Heartbeat(tmp_path / "run")("generating")
    assert "may take this training for dead" in caplog.text


def test_the_liveliest_run_counts(tmp_path: Path):
    for name, age in (("old", 500), ("new", 20)):
        Heartbeat(tmp_path / name)(f"round 3/9  {name}")
        os.utime(tmp_path / name / NAME, (1000 - age, 1000 - age))
    assert last_sign(tmp_path, now=1000) == ("new: round 3/9  new", 20.0)
    assert last_sign(tmp_path / "old", now=1000) == ("old: round 3/9  old", 500.0)
    with pytest.raises(DataError, match="no sign of life"):
        last_sign(tmp_path / "none")


@pytest.mark.parametrize(("age", "code"), [(10, 0), (120, 1), (None, 1)])
def test_the_health_tool(tmp_path: Path, age: int | None, code: int):
    if age is not None:
        Heartbeat(tmp_path / "run")("updating")
        os.utime(tmp_path / "run" / NAME, (time.time() - age, time.time() - age))
    command = [sys.executable, str(ROOT / "tools" / "health.py"), str(tmp_path), "--older-than", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert ("run: updating" in done.stdout) == (age is not None)
