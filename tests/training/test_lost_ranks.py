"""A rank that is killed, stopped or asleep ends the training in bounded time, with one line; the same command goes on, bit for bit."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import toy_lost_ranks
import toy_run
from test_resume import reproducible, weights
from test_stopping import free_port
from toy_run import PATIENCE_S, ROOT

from tracer1.training.entry import LOST
from tracer1.training.lost_ranks import GRACE_S, of_the_backend, with_timeout
from tracer1.training.strategies import ShardedStrategy, ZeroStrategy

Training = Callable[..., dict[str, Any]]
GONE = "is gone (its process was killed, or its machine)"
BOUND_S = 60  # from one rank's end to the other's, on a busy machine; it takes less than one second
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def training(toy: Path) -> Iterator[Training]:
    """`training(outputs, dies="", *more, ranks=2)`: three rounds on two ranks, as train.py does them."""
    path = os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)])
    server = subprocess.Popen(
        [sys.executable, str(Path(toy_lost_ranks.__file__)), str(toy)],
        env={**toy_run.environment(), "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(outputs: Path, dies: str = "", *more: str, ranks: int = 2) -> dict[str, Any]:
        server.stdin.write(json.dumps({"outputs": str(outputs), "ranks": ranks, "dies": dies, "more": more}) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    yield run
    server.stdin.close()
    assert server.wait(PATIENCE_S) == 0


@pytest.fixture(scope="module")
def whole(training: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing befell."""
    outputs = tmp_path_factory.mktemp("whole")
    ended = training(outputs)
    assert ended["codes"] == [0, 0], ended["said"]
    return outputs / "run"


def lines(said: str) -> list[str]:
    """What was said beside the usual. DeepSpeed says something when it is imported."""
    return [line for line in said.splitlines() if line and not line.startswith(("INFO", "WARNING", "["))]


STAGES = ("drawing", "generating", "executing", "scoring", "balancing", "preparing", "updating", "validating", "saving")


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_rank_is_killed_in_every_stage(training: Training, whole: Path, tmp_path: Path):
    """In round 2, again and again: the other one says so and leaves. At last both end like the run that nothing befell, bit for bit."""
    for rank, stage in [(1, stage) for stage in STAGES] + [(0, "updating")]:
        validated = ("evaluation.every=1",) if stage == "validating" else ()
        ended = training(tmp_path, f"{rank} 2 {stage} SIGKILL", *validated)
        assert ended["codes"] == ([LOST, KILLED] if rank else [KILLED, LOST]), ended["said"]
        assert ended["after_s"] < BOUND_S
        goes_on = "Stopped. Go on from round-000001 with the same command and ckpt_path=last."
        assert lines(ended["said"]) == [f"ERROR Rank {rank} {GONE} in round 2, {stage}. {goes_on}"]
        assert not (tmp_path / "run" / "policy").exists()
    again = training(tmp_path)
    assert again["codes"] == [0, 0], again["said"]
    assert weights(tmp_path / "run") == weights(whole)
    assert reproducible(tmp_path / "run") == reproducible(whole)


def test_ranks_are_busy_for_unequal_times(whole: Path):
    found = [
        line["time/straggler_s"]
        for line in map(json.loads, (whole / "metrics.jsonl").read_text().splitlines())
        if "reward/total" in line
    ]
    assert len(found) == 3
    assert all(seconds >= 0 for seconds in found)


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_rank_that_is_stopped(training: Training, tmp_path: Path):
    """Its connections stay open, and nothing comes."""
    ended = training(tmp_path, "1 2 generating SIGSTOP", "ranks.timeout_s=12")
    assert ended["codes"] == [LOST, KILLED], ended["said"]
    [line] = lines(ended["said"])
    assert line.startswith(
        ("ERROR Rank 1 has given no sign for 1", "ERROR The ranks have waited 12 s (ranks.timeout_s) for rank 1 ")
    )
    assert "round 2, generating" in line


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_rank_that_does_not_come(training: Training, tmp_path: Path):
    """It lives, and has not done its share; when it wakes it finds the others gone."""
    ended = training(tmp_path, "1 2 generating 40", "ranks.timeout_s=12")
    assert ended["codes"] == [LOST, LOST], ended["said"]
    assert 5 < ended["after_s"] < BOUND_S
    line, late = lines(ended["said"])
    assert line.startswith(
        "ERROR The ranks have waited 12 s (ranks.timeout_s) for rank 1 (round 2, generating). Stopped. Go on from"
    )
    assert late.startswith("ERROR Rank 0 has ended with its patience: it has waited too long in round 2, generating.")


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_rank_that_does_not_ask_for_the_others_ends_too(training: Training, tmp_path: Path):
    """As where a stage lasts an hour, or where the backend waits for ever: it ends itself."""
    ended = training(tmp_path, "1 2 generating SIGKILL;0 2 generating 300")
    assert ended["codes"] == [LOST, KILLED], ended["said"]
    assert GRACE_S - 1 < ended["after_s"] < BOUND_S
    [line] = lines(ended["said"])
    assert line.startswith(f"ERROR Rank 1 {GONE} in round 2, generating. Stopped. Go on from round-000001")


@pytest.mark.parametrize("strategy", ["ddp", ZeroStrategy, ShardedStrategy])
def test_ranks_wait_for_each_other_as_long_as_they_are_told(strategy: object):
    made = strategy if isinstance(strategy, str) else strategy()
    trainer = L.Trainer(strategy=made, devices=2, accelerator="cpu", logger=False, enable_checkpointing=False)
    assert with_timeout(trainer, 12.0).strategy._timeout.total_seconds() == 12


def test_errors_of_the_backend_are_known():
    gloo = "[…/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234"
    assert all(of_the_backend(RuntimeError(said)) for said in (gloo, "NCCL communicator was aborted on rank 1."))
    assert of_the_backend(torch.distributed.DistBackendError("whatever"))
    assert not of_the_backend(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))


# --- the processes that read ahead -------------------------------------------------------------------------------------------

WARM = (
    "+experiment=warmstart",
    "run_name=run",
    "data.horizon=2",
    "warmstart.updates=8",
    "warmstart.updates_per_round=2",
    "warmstart.batch_size=2",
    "warmstart.warmup=2",
    "warmstart.workers=1",
    "checkpoint.every=1",
    "evaluation.every=4",
)


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_killed_data_worker(training: Training, toy: Path, tmp_path: Path):
    """It dies over the sixth batch, while the fourth is trained on or before."""
    more = (*WARM, f"model.path={toy}/planner", "strategy=single", "trainer.devices=1")
    ended = training(tmp_path / "killed", "worker 0 5 SIGKILL", *more, ranks=1)
    assert ended["codes"] == [LOST], ended["said"]
    [line] = lines(ended["said"])
    assert line.startswith("ERROR A process that reads ahead (pid ")
    assert not (tmp_path / "killed" / "run" / "policy").exists()
    for outputs in (tmp_path / "killed", tmp_path / "whole"):
        again = training(outputs, "", *more, ranks=1)
        assert again["codes"] == [0], again["said"]
    assert weights(tmp_path / "killed" / "run") == weights(tmp_path / "whole" / "run")
    assert reproducible(tmp_path / "killed" / "run") == reproducible(tmp_path / "whole" / "run")


# --- as launchers start them ------------------------------------------------------------------------------------------------


def launched(toy: Path, outputs: Path, command: list[str], dies: str) -> subprocess.CompletedProcess[str]:
    outputs.mkdir()
    variables = {
        "TRACER1_GPUS": "2",
        "TRACER1_PYTHON": sys.executable,
        "MASTER_PORT": str(free_port()),
        "TOY_DIES": dies,
    }
    return subprocess.run(
        [*command, *toy_lost_ranks.arguments(toy, outputs, [])],
        env={**toy_run.environment(), **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


LAUNCHERS = {
    "lightning": [sys.executable, str(ROOT / "src/tracer1/train.py")],
    "torchrun": ["bash", str(ROOT / "tools/launch/node.sh")],
}


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_let_the_line_be_said(toy: Path, tmp_path: Path, launcher: str):
    """Lightning's kills all processes within five seconds, torchrun sends SIGTERM at once."""
    ended = launched(toy, tmp_path / "outputs", LAUNCHERS[launcher], "1 2 updating SIGKILL")
    assert ended.returncode == LOST
    said = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
    goes_on = "Stopped. Go on from round-000001 with the same command and ckpt_path=last."
    assert said == [f"ERROR Rank 1 {GONE} in round 2, updating. {goes_on}"], ended.stderr
    assert ended.stderr.count("Traceback") == (launcher == "torchrun"), ended.stderr  # its own summary
