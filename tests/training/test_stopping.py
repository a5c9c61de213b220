"""A training that is asked to stop, or runs out of time, ends between two rounds, and the same command goes on as if nothing had been."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy_run
from test_resume import reproducible, weights
from toy_run import PATIENCE_S, toy_overrides

from tracer1.training.entry import REQUEUE
from tracer1.training.stopping import StopBetweenRounds, StopSignals, TimeLimit

ROUNDS = ("rounds=3", "ckpt_path=auto", "checkpoint.every=9")  # saved after the last round, and where it stops


def run_id(run: Path) -> str | None:
    return json.loads((run / "run.json").read_text())["run_id"]


# --- when ------------------------------------------------------------------------------------------------------------------


class Kept:
    """Notes what is saved."""

    def __init__(self) -> None:
        self.folder, self.saved = Path("run"), []

    def save(self, trainer: object, done: int) -> None:
        self.saved.append(done)


def rounds_until_stopped(limit: TimeLimit, lasting: float, signal_in: int = 0) -> tuple[int, list[int]]:
    """How many of ten rounds of `lasting` seconds are done, and what is saved when that was before the last one."""
    now, keep, signals, ended = [1000.0], Kept(), StopSignals(), []
    stop = StopBetweenRounds(signals, keep, limit, lambda: now[0])
    trainer = SimpleNamespace(
        max_epochs=10,
        is_global_zero=True,
        logger=SimpleNamespace(finalize=ended.append),
        strategy=SimpleNamespace(barrier=lambda name: None),
    )
    for trainer.current_epoch in range(10):
        stop.on_train_epoch_start(trainer, None)
        now[0] += lasting
        if trainer.current_epoch + 1 == signal_in:
            signals._note(signal.SIGUSR1, None)
        try:
            stop.on_train_epoch_end(trainer, None)
        except SystemExit:
            assert ended == ["interrupted"]
            return trainer.current_epoch + 1, keep.saved
    return 10, keep.saved


@pytest.fixture
def until(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """SLURM's end of the job."""
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    return lambda end: monkeypatch.setenv("SLURM_JOB_END_TIME", f"{end:.0f}")


def test_no_round_is_begun_that_would_not_be_over_in_time(until):
    assert rounds_until_stopped(TimeLimit(), 100) == (10, [])
    until(1650)
    assert rounds_until_stopped(TimeLimit(before_s=0), 100) == (6, [6])
    assert rounds_until_stopped(TimeLimit(before_s=300), 100) == (3, [3])
    assert rounds_until_stopped(TimeLimit(before_s=9000), 100) == (1, [1])  # never without a round


def test_a_signal_ends_the_round_it_comes_in(until):
    assert rounds_until_stopped(TimeLimit(), 100, signal_in=4) == (4, [4])
    assert rounds_until_stopped(TimeLimit(), 100, signal_in=10) == (10, [])  # all that is left is the export


def test_the_earlier_of_two_limits_counts():
    slurm = {"SLURM_JOB_END_TIME": "10000"}
    assert TimeLimit(None, 100).deadline({}, 0) is None
    assert TimeLimit(None, 100).deadline(slurm, 0) == 9900
    assert TimeLimit(1.0, 100).deadline(slurm, 500) == 4000
    assert TimeLimit(9.0, 100).deadline(slurm, 500) == 9900
    assert TimeLimit(None, 100).deadline({"SLURM_JOB_END_TIME": "NONE"}, 0) is None


# --- a training -----------------------------------------------------------------------------------------------------------


def test_a_training_that_runs_out_of_time_goes_on(
    toy: Path, tmp_path: Path, train: Callable[..., object], one_thread: None, monkeypatch: pytest.MonkeyPatch
):
    """The same command until it is done, in one MLflow run; with the weights and figures of a training that had time."""
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGUSR1)}
    exit_file = tmp_path / "code"
    monkeypatch.setenv("TRACER1_EXIT_FILE", str(exit_file))
    codes = []
    while not codes or codes[-1] == REQUEUE:
        exit_file.unlink(missing_ok=True)
        codes.append(train(*ROUNDS, "checkpoint.before_time_limit_s=1e9", "checkpoint.max_hours=1").code)
        assert len(list((tmp_path / "run").glob("round-*.ckpt"))) <= 2
        assert exit_file.exists() == (codes[-1] != 0)
    assert codes == [REQUEUE, REQUEUE, 0]
    assert before == {signum: signal.getsignal(signum) for signum in before}
    monkeypatch.delenv("TRACER1_EXIT_FILE")
    assert train(*ROUNDS, "run_name=whole").code == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert reproducible(tmp_path / "run") == reproducible(tmp_path / "whole")
    assert run_id(tmp_path / "run") not in (None, run_id(tmp_path / "whole"))


# --- two ranks under torchrun ----------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def torchrun(toy: Path, outputs: Path, *more: str) -> subprocess.Popen[str]:
    """Two ranks on this machine, as `tools/launch/node.sh` starts them."""
    settings = ("strategy=ddp", "algorithm.groups_per_micro_batch=1", *ROUNDS, "trainer.devices=2", *more)
    environment = {
        **toy_run.environment(),
        "TRACER1_GPUS": "2",
        "TRACER1_PYTHON": sys.executable,
        "MASTER_PORT": str(free_port()),
    }
    return subprocess.Popen(
        ["bash", str(toy_run.ROOT / "tools/launch/node.sh"), *toy_overrides(toy, outputs, *settings)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=outputs,
    )


@pytest.fixture(scope="module")
def undisturbed(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("two")
    process = torchrun(toy, outputs)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return outputs / "run"


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_sigterm_stops_two_ranks_and_the_same_command_goes_on(toy: Path, tmp_path: Path, undisturbed: Path):
    run = tmp_path / "run"
    process = torchrun(toy, tmp_path)
    figures = run / "metrics.jsonl"
    deadline = time.monotonic() + PATIENCE_S
    while not (figures.exists() and '"round": 1' in figures.read_text()) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == REQUEUE, said
    assert said.count("WARNING Stopped after round") == 1, said
    [saved] = run.glob("round-*.ckpt")
    assert saved.name < "round-000003.ckpt"
    assert not (run / "policy").exists()
    first = run_id(run)
    again = torchrun(toy, tmp_path)
    said, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, said
    assert run_id(run) == first is not None
    assert weights(run) == weights(undisturbed)
    assert reproducible(run) == reproducible(undisturbed)
