"""SIGKILL of a server in every phase of a round: the rollouts are those of an undisturbed run, or the run ends with one line.

The servers are processes of hand-written ones that kill themselves at a given request; `Supervised` starts them again.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_toys import Policy, ask, expected, make, seeing_prompt, text_prompt

from tracer1.engines.vllm_server import VllmServerEngine
from tracer1.errors import EngineError

PROMPTS = [seeing_prompt("a"), text_prompt("b"), seeing_prompt("ccc")]
SEEDS = [[10 * b + i for i in range(3)] for b in range(len(PROMPTS))]
ROUNDS = (1, 2, 3)
GENERATE = "/inference/v1/generate"


class Supervised:
    """A server process; started again, without its wish to die, as often as it dies."""

    def __init__(self, path: str = "", number: int = 0, comes_back: bool = True) -> None:
        self.deaths, self.wanted = 0, True
        self.process, self.url = self._start("0", path, str(number))
        if comes_back:
            threading.Thread(target=self._watch, daemon=True).start()

    def _start(self, *arguments: str) -> tuple[subprocess.Popen, str]:
        program = Path(__file__).with_name("fake_server.py")
        process = subprocess.Popen([sys.executable, str(program), *arguments], stdout=subprocess.PIPE, text=True)
        return process, process.stdout.readline().strip()

    def _watch(self) -> None:
        while self.wanted:
            if self.process.wait() == -signal.SIGKILL and self.wanted:
                self.deaths += 1
                self.process, _ = self._start(self.url.rpartition(":")[2])

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        self.wanted = False
        self.process.terminate()


@pytest.fixture
def start() -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def one(*how: object, **more: object) -> Supervised:
        started.append(Supervised(*how, **more))
        return started[-1]

    yield one
    for server in started:
        server.stop()


def undisturbed(fill: int) -> list[tuple[int, ...]]:
    return [expected(seed, fill) for group in SEEDS for seed in group]


def play(engine: VllmServerEngine, between: Callable[[], None] = lambda: None) -> None:
    """Three rounds, each with other weights; every response must be the right one."""
    policy = Policy()
    for fill in ROUNDS:
        policy.fill = float(fill)
        assert [r.token_ids for r in ask(engine, PROMPTS, SEEDS, policy)] == undisturbed(fill)
        between()


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/collective_rpc", 1),  # it receives its first weights
        ("/collective_rpc", 2),  # ... or its second ones
        ("/update_weight_version", 2),  # it has them, and does not yet say so
        ("/weight_checker", 3),
        (GENERATE, 1),  # it opens the first group
        (GENERATE, 15),  # it samples the second round
    ],
)
def test_a_server_that_is_killed(start: Callable[..., Supervised], tmp_path: Path, path: str, number: int):
    server = start(path, number)
    play(make(server, tmp_path, answer_s=30, hand_over_s=1, patience_s=60))
    assert server.deaths == 1
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_killed_between_rounds(start: Callable[..., Supervised], tmp_path: Path):
    server = start()
    play(make(server, tmp_path, answer_s=30, hand_over_s=1, patience_s=60), server.kill)
    assert server.deaths >= 2


@pytest.mark.parametrize(
    ("path", "number"), [("/start_weight_update", 2), ("/update_weights", 2), ("/finish_weight_update", 1)]
)
def test_a_server_that_is_killed_in_a_broadcast(
    start: Callable[..., Supervised], tmp_path: Path, path: str, number: int
):
    server, other = start(path, number), start()
    play(make([server, other], tmp_path, transfer="gloo", answer_s=30, hand_over_s=1, patience_s=60))
    assert server.deaths == 1


@pytest.mark.parametrize("path", ["/collective_rpc", GENERATE])
def test_one_of_two_that_never_comes_back(start: Callable[..., Supervised], tmp_path: Path, path: str):
    server, other = start(path, 2, comes_back=False), start()
    play(make([server, other], tmp_path, answer_s=30, hand_over_s=0.5, patience_s=60))
    assert (server.process.poll(), other.process.poll()) == (-signal.SIGKILL, None)


@pytest.mark.parametrize("path", ["/collective_rpc", GENERATE])
def test_the_only_one_that_never_comes_back(start: Callable[..., Supervised], tmp_path: Path, path: str):
    engine = make(start(path, 2, comes_back=False), tmp_path, answer_s=30, hand_over_s=0.5, patience_s=2)
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"No vLLM server is left of 1\. .* go on with ckpt_path=last") as caught:
        play(engine)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 30
