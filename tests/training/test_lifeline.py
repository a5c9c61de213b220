"""The line between ranks, with real processes: one is killed, stopped, or leaves, and the others know it."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from tracer1.training import lifeline
from tracer1.training.lifeline import Lifeline, Loss, Sign, laggards

SOON_S = 20  # on a busy machine
NEVER_S = 600.0
FORK = multiprocessing.get_context("fork")


def rank_in_a_process(rank: int, ranks: int, pipe: Connection, act: Callable[[Lifeline], None]) -> None:
    """Forked: opens its end, does `act`, waits for a loss, and says which one over the pipe."""

    def tell(told: Any) -> Any:
        if rank == 0:
            for _ in range(ranks - 1):
                pipe.send(told)
        return told or pipe.recv()

    line = Lifeline(rank, NEVER_S, lambda loss: None)
    line.open("127.0.0.1", ranks, tell)
    act(line)
    line.known.wait()
    pipe.send(str(line.loss))


def drawing(line: Lifeline) -> None:
    """What ranks do that nothing befalls."""
    line.say("round 1, drawing")


Started = Callable[..., tuple[Lifeline, dict[int, multiprocessing.Process], dict[int, Connection]]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """`start(me, ranks, acts, silent_s)`: this process's end as rank `me`, and the other ranks' processes and pipes."""
    monkeypatch.setattr(lifeline, "PING_S", 0.1)
    processes, mine = {}, []

    def run(me: int, ranks: int, acts: dict[int, Callable[[Lifeline], None]], silent_s: float = NEVER_S):
        pipes = {}
        for rank in sorted({*range(ranks)} - {me}):
            pipes[rank], theirs = FORK.Pipe()
            args = (rank, ranks, theirs, acts.get(rank, drawing))
            processes[rank] = FORK.Process(target=rank_in_a_process, args=args, daemon=True)
            processes[rank].start()
            theirs.close()

        def tell(told: Any) -> Any:
            for pipe in pipes.values() if me == 0 else ():
                pipe.send(told)
            return told or pipes[0].recv()

        mine.append(Lifeline(me, silent_s, lambda loss: None))
        mine[0].open("127.0.0.1", ranks, tell)
        return mine[0], processes, pipes

    yield run
    for line in mine:
        line.leave(None)
    for process in processes.values():
        process.kill()
        process.join()


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_all_learn_who_was_killed_and_in_what(start: Started):
    line, processes, pipes = start(0, 3, {1: lambda line: line.say("round 2, generating")})
    until(lambda: line.signs[1].doing == "round 2, generating" and line.signs[2].doing == "round 1, drawing")
    os.kill(processes[1].pid, signal.SIGKILL)
    assert line.known.wait(SOON_S)
    assert line.loss == Loss(1, "is gone (its process was killed, or its machine)", "round 2, generating")
    assert pipes[2].poll(SOON_S)
    assert pipes[2].recv() == str(line.loss)


def test_the_others_notice_that_rank_0_is_gone(start: Started):
    line, processes, _ = start(1, 2, {})
    until(lambda: line.signs[0].doing == "round 1, drawing")
    os.kill(processes[0].pid, signal.SIGKILL)
    assert line.known.wait(SOON_S)
    assert (line.loss.rank, line.loss.doing) == (0, "round 1, drawing")


def test_a_forked_worker_does_not_hold_the_line(start: Started):
    """It lives on for a while when its rank is killed."""

    def with_worker(line: Lifeline) -> None:
        if not os.fork():
            time.sleep(2 * SOON_S)
            os._exit(0)
        line.say("forked")

    line, processes, _ = start(0, 2, {1: with_worker})
    until(lambda: line.signs[1].doing == "forked")
    os.kill(processes[1].pid, signal.SIGKILL)
    assert line.known.wait(SOON_S)


def test_a_rank_that_has_an_error_says_so_and_one_that_is_done_alarms_nobody(start: Started):
    line, _, pipes = start(0, 3, {1: lambda line: line.leave(None), 2: lambda line: line.leave("DataError: no shard")})
    assert line.known.wait(SOON_S)
    assert line.loss == Loss(2, "has ended with DataError: no shard", "starting")
    until(lambda: not line.signs)
    assert not pipes[1].poll()


def test_a_rank_that_is_stopped_is_given_up(start: Started):
    line, processes, _ = start(0, 2, {}, silent_s=1.5)
    until(lambda: line.signs[1].doing == "round 1, drawing")
    os.kill(processes[1].pid, signal.SIGSTOP)
    until(lambda: line.signs[1].silent)
    assert line.loss is None
    assert line.known.wait(SOON_S)
    assert str(line.loss) == "Rank 1 has given no sign for 2 s in round 1, drawing"


def test_a_rank_that_works_for_long_is_not_given_up(start: Started):
    line, _, _ = start(0, 2, {}, silent_s=0.6)
    assert not line.known.wait(2.0)


def test_strangers_are_left_standing():
    """One rank's line opens beside somebody who has found the port and does not know the secret."""
    lines = [Lifeline(rank, NEVER_S, lambda loss: None) for rank in range(2)]

    def tell(told: tuple[int, bytes]) -> None:
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", told[0])) as stranger:
                stranger.sendall(said)
        FORK.Process(target=lines[1].open, args=("127.0.0.1", 2, lambda _: told), daemon=True).start()

    lines[0].open("127.0.0.1", 2, tell)
    assert lines[0].known.wait(SOON_S)  # rank 1 was there, and its process is over
    assert lines[0].loss.rank == 1


def test_whom_the_others_wait_for():
    busy, done, gone = (
        Sign("round 1, drawing"),
        Sign("round 1, drawing", waiting=True),
        Sign("round 1, drawing", True, at=0.0),
    )
    assert laggards({1: busy, 2: done}) == {1: busy}
    assert laggards({1: busy, 2: gone}) == {2: gone}
    assert laggards({1: done}) == {}
