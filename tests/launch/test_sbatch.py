"""`tools/launch.sbatch` under stand-ins for `srun` and `scontrol` that keep their interfaces: what it starts, and when it goes back.

And that a training which was put back in its middle is one training in the end.
"""

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "launch.sbatch"

# Starts the command once per task with SLURM's variables, passes signals on, gives the highest exit code: srun(1)
SRUN = """#!{python}
import os, signal, subprocess, sys
arguments = sys.argv[1:]
while arguments and arguments[0].startswith("--"):
    open(os.environ["SEEN"], "a").write(arguments.pop(0) + "\\n")
open(os.environ["SEEN"], "a").write(" ".join(arguments) + "\\n")
tasks = int(os.environ["SLURM_NTASKS"])
rank = lambda i: {{"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i), "SLURM_NODEID": "0"}}
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
started = [subprocess.Popen(arguments, env={{**os.environ, **rank(i)}}, preexec_fn=lambda: signal.pthread_sigmask(
    signal.SIG_UNBLOCK, [signal.SIGUSR1])) for i in range(tasks)]
signal.signal(signal.SIGUSR1, lambda signum, frame: [task.send_signal(signum) for task in started])
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
sys.exit(max(code if code >= 0 else 128 - code for code in [task.wait() for task in started]))
"""

SCONTROL = """#!/bin/sh
case $1 in
  show) echo node0; echo node1 ;;  # scontrol show hostnames node[0-1]
  requeue) echo "$2" >> "$REQUEUED" ;;
esac
"""


class Slurm:
    """A queue of one job: what is put back into it is run again, with SLURM_RESTART_COUNT."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen, self.requeued = folder, folder / "seen", folder / "requeued"
        tools = folder / "bin"
        tools.mkdir()
        for name, text in (("srun", SRUN.format(python=sys.executable)), ("scontrol", SCONTROL)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "SEEN": str(self.seen),
            "REQUEUED": str(self.requeued),
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NAME": "tracer1",
            "SLURM_JOB_NODELIST": "node[0-1]",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_NNODES": "1",
            "SLURM_NTASKS": "1",
            "SLURM_NTASKS_PER_NODE": "1",
            "SLURM_SUBMIT_DIR": str(ROOT),
            "TRACER1_OUTPUTS": str(folder / "outputs"),
        }

    def start(self, *settings: str, count: int = 0, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SCRIPT), *settings],
            env={**self.environment, "SLURM_RESTART_COUNT": str(count), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )

    def went_back(self) -> bool:
        """Whether the job was put back since the last call."""
        try:
            return self.requeued.read_text().split() == ["4711"]
        except FileNotFoundError:
            return False
        finally:
            self.requeued.unlink(missing_ok=True)


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


def trainer(folder: Path, body: str) -> str:
    """A trainer in few words, in place of train.py."""
    path = folder / "train.py"
    path.write_text(f"import os, signal, sys, time\n{body}\n")
    return str(path)


@pytest.mark.parametrize(
    ("code", "retries", "count", "back"),
    [
        (0, 3, 0, False),
        (2, 3, 0, False),
        (75, 0, 0, True),
        (75, 0, 100, False),
        (1, 0, 0, False),
        (1, 2, 1, True),
        (1, 2, 2, False),
    ],
)
def test_which_exit_codes_put_the_job_back(slurm: Slurm, code: int, retries: int, count: int, back: bool):
    train = trainer(slurm.folder, f"sys.exit({code})")
    job = slurm.start(count=count, TRACER1_TRAIN=train, TRACER1_RETRIES=str(retries))
    said, _ = job.communicate(timeout=60)
    assert (job.returncode, slurm.went_back()) == (code, back), said


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize(
    ("answer", "code"), [("", 128 + signal.SIGUSR1), ("signal.signal(10, lambda *_: sys.exit(75))", 75)]
)
def test_a_notice_reaches_the_trainers_and_the_job_goes_back(slurm: Slurm, signum: int, answer: str, code: int):
    """Whether they can answer it already or not."""
    train = trainer(slurm.folder, f"{answer}\nopen('ready', 'w')\ntime.sleep(60)")
    job = slurm.start(TRACER1_TRAIN=train)
    while not (slurm.folder / "ready").exists():
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.02)
    job.send_signal(signum)
    said, _ = job.communicate(timeout=60)
    assert (job.returncode, slurm.went_back()) == (code, True), said


def test_what_the_trainers_are_told(slurm: Slurm):
    names = ("MASTER_ADDR", "MASTER_PORT", "TRACER1_NODES", "TRACER1_GPUS", "SLURM_PROCID")
    train = trainer(slurm.folder, f"print(*[os.environ[n] for n in {names}], sys.argv[1:])")
    said, _ = slurm.start("+cluster=nodes", "run_name=a b", TRACER1_TRAIN=train).communicate(timeout=60)
    assert said == "node0 24711 1 1 0 ['+cluster=nodes', 'run_name=a b']\n"


@pytest.mark.parametrize(
    ("own", "ends", "told"),
    [
        ("", "2027-01-02T03:04:05", time.mktime((2027, 1, 2, 3, 4, 5, 0, 0, -1))),
        ("1800000000", "2027-01-02T03:04:05", 1_800_000_000),  # newer SLURMs say it themselves
        ("", "N/A", None),
        ("", "", None),
    ],
)
def test_the_time_limit_reaches_the_trainers(slurm: Slurm, own: str, ends: str, told: float | None):
    squeue = slurm.folder / "bin" / "squeue"
    squeue.write_text(f"#!/bin/sh\necho {ends}\n")
    squeue.chmod(0o755)
    train = trainer(slurm.folder, "print(os.environ.get('SLURM_JOB_END_TIME'))")
    said, _ = slurm.start(TRACER1_TRAIN=train, SLURM_JOB_END_TIME=own).communicate(timeout=60)
    assert said.strip() in ({"", "None"} if told is None else {f"{told:.0f}"})


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (
            "tracer1.sif",
            "apptainer exec --nv --bind {o}:{o},/data:/data tracer1.sif python /opt/tracer1/src/tracer1/train.py x=1",
        ),
        ("tracer1.sqsh", "python /opt/tracer1/src/tracer1/train.py x=1"),
    ],
)
def test_containers(slurm: Slurm, image: str, expected: str):
    outputs = slurm.environment["TRACER1_OUTPUTS"]
    job = slurm.start("x=1", TRACER1_IMAGE=image, TRACER1_MOUNTS="/data:/data")
    job.communicate(timeout=60)
    *options, command = slurm.seen.read_text().splitlines()
    assert command == expected.format(o=outputs)
    assert options[:2] == ["--kill-on-bad-exit=0", "--wait=120"]
    pyxis = [f"--container-image={image}", f"--container-mounts={outputs}:{outputs},/data:/data"]
    assert options[2:] == (pyxis if image.endswith(".sqsh") else [])


def test_the_notice_is_longer_than_what_is_waited_for():
    """SLURM's USR1, then the last moment to requeue, then the end."""
    text = SCRIPT.read_text()
    given, waited = (int(re.search(pattern, text)[1]) for pattern in (r"--signal=B:USR1@(\d+)", r"\nnotice=(\d+)"))
    assert waited + 30 <= given
    assert "#SBATCH --requeue" in text
    assert SCRIPT.stat().st_mode & stat.S_IXUSR


# --- a training that runs again ---------------------------------------------------------------------------------------------


def wait_for(text: str, path: Path, job: subprocess.Popen[str]) -> None:
    while not (path.exists() and text in path.read_text()):
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_requeued_training_runs_again_and_is_one_training(slurm: Slurm, toy: Path):
    """The same job each time, and the MLflow run, the figures and the weights of one that nobody disturbed."""
    import toy_run
    from test_resume import reproducible, weights

    settings = ("rounds=4", "evaluation.every=9")
    command = toy_run.toy_overrides(toy, slurm.folder, *settings, "+cluster=nodes")
    slurm.environment |= {**toy_run.environment(), "PATH": slurm.environment["PATH"], "TRACER1_PYTHON": sys.executable}
    run = slurm.folder / "run"

    job = slurm.start(*command)
    wait_for('"round": 0', run / "metrics.jsonl", job)  # validated; the first round has begun
    job.send_signal(signal.SIGUSR1)
    said, _ = job.communicate(timeout=300)
    assert (job.returncode, slurm.went_back()) == (75, True), said
    assert "WARNING Stopped after round" in said
    assert len(list(run.glob("round-*.ckpt"))) == 1
    run_id = json.loads((run / "run.json").read_text())["run_id"]

    job = slurm.start(*command, count=1)
    said, _ = job.communicate(timeout=300)
    assert (job.returncode, slurm.went_back()) == (0, False), said
    assert json.loads((run / "run.json").read_text())["run_id"] == run_id is not None

    alone = toy_run.train_apart(toy_run.toy_overrides(toy, slurm.folder, *settings, "run_name=alone"))
    assert alone.returncode == 0, alone.stderr
    assert weights(run) == weights(slurm.folder / "alone")
    assert reproducible(run) == reproducible(slurm.folder / "alone")
    with sqlite3.connect(toy / "mlflow.db") as store:
        assert store.execute("SELECT name, status FROM runs ORDER BY start_time").fetchall() == [
            ("run", "FINISHED"),
            ("alone", "FINISHED"),
        ]
