"""A sandbox that breaks is replaced, or said to be broken; nothing of it outlives its time, its session or its owner."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tracer1.errors import DataError, SandboxFault
from tracer1.sandbox import _cgroup
from tracer1.sandbox.bubblewrap import Bubblewrap


def test_sessions_draw_different_random_numbers(bubblewrap_works: None, folder: Path):
    sandbox = Bubblewrap(load=("numpy",))
    try:
        drawn = set()
        for _ in range(3):
            with sandbox.session(folder) as session:
                drawn.add(session.run("import random, numpy\nprint(random.random(), numpy.random.rand())").output)
        assert len(drawn) == 3
    finally:
        sandbox.close()


def test_a_set_is_printed_in_the_same_order_everywhere(bubblewrap_works: None, folder: Path):
    printed = set()
    for _ in range(2):
        sandbox = Bubblewrap(load=())
        with sandbox.session(folder) as session:
            printed.add(session.run("print(set('abcdefghijklm'))").output)
        sandbox.close()
    assert len(printed) == 1


def test_a_dead_warm_interpreter_is_replaced_and_the_run_repeated(bubblewrap_works: None, folder: Path, started, soon):
    sandbox = Bubblewrap(load=())
    try:
        with sandbox.session(folder) as session:
            session.run("1")
        os.kill(sandbox._zygote.pid, signal.SIGKILL)
        with sandbox.session(folder) as session:
            assert session.run("print(42)").output == "42\n"
    finally:
        sandbox.close()
    assert soon(lambda: started() == [])


def test_a_run_under_a_dying_sandbox_is_repeated_only_if_nothing_is_lost(bubblewrap_works: None, folder: Path):
    sandbox = Bubblewrap(load=())

    def kill_it() -> None:
        sandbox._zygote.stop()

    try:
        with sandbox.session(folder) as session:
            threading.Timer(0.3, kill_it).start()
            assert session.run("import time; time.sleep(0.7); print('again')").output == "again\n"
            session.run("x = 1")
            threading.Timer(0.3, kill_it).start()
            with pytest.raises(SandboxFault, match="no result"):
                session.run("import time; time.sleep(0.7)")
            assert session.run("print('alive')").output == "alive\n"
    finally:
        sandbox.close()


def test_a_sandbox_that_cannot_start_again_is_a_fault(bubblewrap_works: None, folder: Path):
    sandbox = Bubblewrap(load=())
    sandbox._program = "/bin/false"
    with sandbox.session(folder) as session, pytest.raises(SandboxFault, match="did not start"):
        session.run("1")
    sandbox.close()


def test_a_closed_sandbox_stays_closed(bubblewrap_works: None, folder: Path):
    sandbox = Bubblewrap(load=())
    sandbox.close()
    with sandbox.session(folder) as session, pytest.raises(SandboxFault, match="sandbox is closed"):
        session.run("1")


def test_a_home_that_cannot_be_written_to_is_no_obstacle(
    bubblewrap_works: None, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/no/such")
    sandbox = Bubblewrap(load=())
    with sandbox.session(folder) as session:
        assert session.run("print(1)").output == "1\n"
    sandbox.close()


def test_a_fork_of_the_owner_ends_nothing_and_has_sessions_of_its_own(bubblewrap_works: None, folder: Path):
    # As in a worker process of a data loader.
    sandbox = Bubblewrap(load=())
    with sandbox.session(folder) as session:
        session.run("x = 1")
        if (child := os.fork()) == 0:
            fine = False
            try:
                with sandbox.session(folder) as own:
                    fine = own.run("print(7)").output == "7\n"
                sandbox.close()
            finally:
                os._exit(0 if fine else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert session.run("print(x)").output == "1\n"
    sandbox.close()


def test_a_folder_that_is_not_there_is_said_to_be(box: Bubblewrap, tmp_path: Path):
    with pytest.raises(DataError, match="is no folder"):
        box.session(tmp_path / "absent")
    (tmp_path / "short").mkdir()
    with box.session(tmp_path / "short") as session:
        (tmp_path / "short").rmdir()
        with pytest.raises(DataError, match="is gone"):
            session.run("1")


def test_warm_interpreters_are_recycled_while_sessions_go_on(bubblewrap_works: None, folder: Path, started, soon):
    sandbox = Bubblewrap(load=(), sessions=3)
    try:
        with sandbox.session(folder) as long:
            long.run("x = 1")
            for _ in range(7):
                with sandbox.session(folder) as session:
                    assert session.run("print(1)").output == "1\n"
            assert long.run("print(x)").output == "1\n"
        with sandbox.session(folder) as session:
            session.run("1")
            # One warm interpreter in two bubblewraps, one session.
            assert soon(lambda: len(started()) == 4), started()
    finally:
        sandbox.close()
    assert soon(lambda: started() == [])


def test_it_answers_a_ping(box: Bubblewrap, folder: Path):
    assert box._warm().ping()


def test_a_session_that_is_closed_twice_or_used_after_is_said_to_be(box: Bubblewrap, folder: Path):
    session = box.session(folder)
    session.run("1")
    session.close()
    session.close()
    with pytest.raises(SandboxFault, match="closed"):
        session.run("1")


HOST = """
import sys, threading, time
from pathlib import Path
from tracer1.sandbox import Limits
from tracer1.sandbox.bubblewrap import Bubblewrap
box = Bubblewrap(Limits(wall_s=60), load=())
def work():
    box.session(Path(sys.argv[1])).run("print('x')\\nopen('started', 'w').close()\\nwhile True: pass")
threading.Thread(target=work, daemon=True).start()
while not (Path(sys.argv[1]) / "started").exists(): time.sleep(0.01)
print("running", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_everything_ends_with_the_process_that_started_it(bubblewrap_works: None, folder: Path, soon, how: int):
    source = Path(__file__).parents[2] / "src"
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert host.stdout.readline() == b"running\n"
    below = psutil.Process(host.pid).children(recursive=True)
    assert len(below) >= 4
    host.send_signal(how)
    host.wait(10)
    host.stdout.close()
    assert soon(lambda: not any(child.is_running() and child.status() != "zombie" for child in below), 5.0)


def test_it_works_from_a_thread_that_ends(box: Bubblewrap, bubblewrap_works: None, folder: Path):
    # The kernel ends bubblewrap with the thread that started it: that must not be the caller's.
    sandbox = Bubblewrap(load=())
    sessions = []

    def start() -> None:
        sessions.append(sandbox.session(folder))
        sessions[0].run("x = 42")

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert sessions[0].run("print(x)").output == "42\n"
    sandbox.close()


def test_the_kernel_bounds_all_sessions_together_where_that_is_allowed(bubblewrap_works: None, folder: Path, soon):
    sandbox = Bubblewrap(load=())
    with sandbox.session(folder) as session:
        session.run("1")
        made = sandbox._zygote._cgroups
        tasks = [cgroup / "pids.max" for cgroup in made if (cgroup / "pids.max").exists()]
        if not tasks:
            sandbox.close()
            pytest.skip("cgroups cannot be made here")
        assert tasks[0].read_text().strip() == str(_cgroup.MOST_TASKS)
        assert len((tasks[0].parent / "cgroup.procs").read_text().split()) == 2  # the warm interpreter and the session
    sandbox.close()
    assert not any(cgroup.exists() for cgroup in made)


def test_cgroups_of_the_dead_are_removed(bubblewrap_works: None):
    for base in _cgroup._ours():
        left = base / "tracer1-4194304-1"  # a process number that Linux does not give
        try:
            left.mkdir()
        except OSError:
            continue
        _cgroup._remove_left_over(base)
        assert not left.exists()
