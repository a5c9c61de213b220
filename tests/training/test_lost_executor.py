"""The executor's server is killed in the middle of a round of a training."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy_executor
import toy_run
from test_resume import reproducible, weights
from test_stopping import free_port

from tracer1.rewards import REWARDS
from tracer1.schema import NOT_DONE, Action, Plan, PlanStep, Rollout
from tracer1.training import groups

IN_ROUND_2 = 2 + 12 + 5  # answers: the validation, round 1, and half of round 2


@pytest.fixture(autouse=True)
def any_text_is_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy planner writes rubbish: here it is an instruction to the executor."""

    def plan(text: str, starts_in_think: bool) -> Plan:
        return Plan((PlanStep(Action("click", f"Click {text!r}."), NOT_DONE),))

    monkeypatch.setattr(groups, "parse_plan", plan)


@pytest.fixture(scope="module", autouse=True)
def its_reward() -> None:
    @REWARDS.register("leftmost")
    def leftmost(rollout: Rollout) -> float:
        return 1 - rollout.outcome.action.point[0] / 1000 if rollout.outcome.action else 0.0


class Server:
    """A process that can be started again at the same port."""

    def __init__(self) -> None:
        self.port, self.process = free_port(), None

    def start(self, dies_after: int = 0) -> None:
        path = str(toy_run.ROOT / "src")
        command = [sys.executable, toy_executor.__file__, str(self.port), str(dies_after)]
        self.process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def revive(self) -> None:
        """As a supervisor would."""
        self.process.wait()
        self.start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def acting(train: Callable[..., object], server: Server) -> Callable[..., object]:
    """`acting("run_name=x", ...)`: three rounds with an executor behind that server."""
    settings = {
        "executor": "ui_tars_1_5_7b",
        "executor.model": "toy",
        "executor.template": "computer",
        "executor.server.endpoints": f"[http://127.0.0.1:{server.port}]",
        "executor.server.patience_s": 1,
        "executor.server.timeout_s": 5,
        "executor.server.backoff_s": 0.01,
        "executor.cache": "null",
        "+reward.terms.leftmost.weight": 1.0,
        "rounds": 3,
        "evaluation.every": 3,
    }
    return lambda *more: train(*(f"{name}={value}" for name, value in settings.items()), *more)


def test_a_killed_executor_ends_the_run_or_is_waited_for(
    acting: Callable[..., object], server: Server, tmp_path: Path, one_thread: None
):
    """One line within its patience, and the same command goes on; a server that is started again in time costs nothing but time."""
    server.start()
    assert acting("run_name=whole").code == 0
    server.process.kill()
    server.process.wait()

    server.start(IN_ROUND_2)
    began = time.monotonic()
    said = acting("run_name=killed").error
    assert time.monotonic() - began < 60
    assert "of 12 executions met a fault of the infrastructure, more than rollout.max_faults=0.2 allows" in said
    assert not (tmp_path / "killed" / "policy").exists()
    server.start()
    assert acting("run_name=killed", "ckpt_path=auto").code == 0
    server.process.kill()
    server.process.wait()

    server.start(IN_ROUND_2)
    supervisor = threading.Thread(target=server.revive)
    supervisor.start()
    assert acting("run_name=revived", "executor.server.patience_s=60").code == 0
    supervisor.join()

    for name in ("killed", "revived"):
        assert weights(tmp_path / name) == weights(tmp_path / "whole")
        assert reproducible(tmp_path / name) == reproducible(tmp_path / "whole")
