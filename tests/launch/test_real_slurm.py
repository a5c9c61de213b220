"""`tools/launch.sbatch` under a real SLURM (`pytest -m slurm tests/launch`): two nodes, one training, whatever comes between.

test_sbatch.py has the rest under stand-ins, which need nothing installed.
"""

import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from real_slurm import RealSlurm, missing, real_slurm

ROOT = Path(__file__).parents[2]
SETTINGS = ("rounds=4", "evaluation.every=9", "strategy=zero2")

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


@pytest.fixture
def slurm() -> Iterator[RealSlurm]:
    if missing():
        pytest.skip(f"needs {', '.join(missing())}: apt-get install slurmctld slurmd slurm-client munge")
    pytest.importorskip("deepspeed")
    with tempfile.TemporaryDirectory() as folder, real_slurm(Path(folder), nodes=2) as found:
        yield found  # not in tmp_path: the names of sockets must be short


def submit(slurm: RealSlurm, toy: Path, name: str, *options: str, retries: int = 0) -> str:
    """The job's number."""
    import toy_run

    slurm.environment |= {
        **toy_run.environment(),
        "SLURM_CONF": slurm.environment["SLURM_CONF"],
        "TRACER1_PYTHON": sys.executable,
        "TRACER1_TRAIN": str(ROOT / "src" / "tracer1" / "train.py"),
        "TRACER1_OUTPUTS": str(toy.parent),
        "TRACER1_RETRIES": str(retries),
    }
    size = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--gpus-per-node=0", "--time=60"]
    command = toy_run.toy_overrides(toy, toy.parent, *SETTINGS, "+cluster=nodes", f"run_name={name}")
    said = slurm.run(
        "sbatch", "--parsable", *size, f"--output={toy.parent}/{name}.out", *options,
        str(ROOT / "tools" / "launch.sbatch"), *command,
    )  # fmt: skip
    return said.strip()


def wait(slurm: RealSlurm, job: str, true: Callable[[dict[str, str]], bool], within_s: float = 180) -> dict[str, str]:
    end = time.monotonic() + within_s
    while not true(state := slurm.state(job)):
        assert time.monotonic() < end, state
        time.sleep(0.2)
    return state


def begun(run: Path) -> Callable[[object], bool]:
    """Validated; the first round has begun."""
    return lambda _: (run / "metrics.jsonl").exists() and '"round": 0' in (run / "metrics.jsonl").read_text()


def over(state: dict[str, str]) -> bool:
    return state["JobState"] in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")


def rank_of(node: int, run: str) -> int:
    """The process of a training on one node."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            program, *said = (folder / "cmdline").read_text(errors="replace").split("\0")
            around = (folder / "environ").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if "python" in program and f"run_name={run}" in said and f"SLURM_NODEID={node}" in around:
            return int(folder.name)
    raise AssertionError(f"no process of {run} on node {node}")


def test_trainers_know_when_their_time_is_up(slurm: RealSlurm, tmp_path: Path):
    train = tmp_path / "train.py"
    train.write_text("import os\nprint(os.environ['SLURM_JOB_END_TIME'])\n")
    slurm.environment |= {"TRACER1_TRAIN": str(train), "TRACER1_PYTHON": sys.executable}
    slurm.environment |= {"TRACER1_OUTPUTS": str(tmp_path)}
    size = ["--ntasks-per-node=1", "--cpus-per-task=1", "--gpus-per-node=0", "--time=30", "--signal=B:USR1@60"]
    script = str(ROOT / "tools" / "launch.sbatch")
    job = slurm.run("sbatch", "--parsable", *size, f"--output={tmp_path}/out", script).strip()
    state = wait(
        slurm, job, lambda state: state["JobState"] in ("RUNNING", "COMPLETED") and state["EndTime"] != "Unknown"
    )
    began = datetime.fromisoformat(state["StartTime"])
    wait(slurm, job, over)
    assert (tmp_path / "out").read_text().strip() == f"{(began + timedelta(minutes=30)).timestamp():.0f}"


@pytest.mark.parametrize("how", ["the notice", "a preemption", "a rank is killed"])
def test_what_comes_between_is_not_seen_in_the_end(slurm: RealSlurm, toy: Path, how: str):
    """Requeued by SLURM itself: the MLflow run, the figures and the weights of a job that nobody disturbed."""
    from test_resume import reproducible, weights

    run = toy.parent / "run"
    job = submit(slurm, toy, "run", retries=int(how == "a rank is killed"))
    wait(slurm, job, begun(run))
    if how == "a rank is killed":
        wait(slurm, job, lambda _: any(run.glob("round-*.ckpt")))  # before, a run would be begun anew
        os.kill(rank_of(1, "run"), signal.SIGKILL)
    else:
        slurm.run("scancel", f"--signal={'USR1' if how == 'the notice' else 'TERM'}", "--batch", job)
    wait(slurm, job, lambda state: state["Restarts"] == "1")
    run_id = json.loads((run / "run.json").read_text())["run_id"]
    state = wait(slurm, job, over)
    said = (toy.parent / "run.out").read_text()
    assert (state["JobState"], state["Restarts"], state["ExitCode"]) == ("COMPLETED", "1", "0:0"), said
    assert ("Rank 1 is gone" if how == "a rank is killed" else "WARNING Stopped after round") in said
    assert json.loads((run / "run.json").read_text())["run_id"] == run_id is not None

    alone = submit(slurm, toy, "alone")
    assert wait(slurm, alone, over)["JobState"] == "COMPLETED", (toy.parent / "alone.out").read_text()
    assert weights(run) == weights(toy.parent / "alone")
    assert reproducible(run) == reproducible(toy.parent / "alone")
    with sqlite3.connect(toy / "mlflow.db") as store:
        names = store.execute("SELECT name, status FROM runs ORDER BY start_time").fetchall()
    assert names == [("run", "FINISHED"), ("alone", "FINISHED")]
