"""Pages, browsers and drivers that die or hang: always an EnvironmentFault, never a wait without end, and nothing is lost."""

import contextlib
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pages import alive, solve_one

from tracer1 import environments
from tracer1.environments._miniwob import bench, browser, episode
from tracer1.environments._miniwob.browser import playwright_api
from tracer1.environments._miniwob.host import SHARED
from tracer1.environments._miniwob.processes import memory_mb, running
from tracer1.environments.miniwob import MiniWob
from tracer1.errors import EnvironmentFault
from tracer1.schema import Action

WAIT = Action("hover", point=(990.0, 990.0))
SECONDS = 60  # far more than anything here takes on a busy machine: what hangs would take for ever


def crash(one: MiniWob) -> None:
    with contextlib.suppress(playwright_api().Error):  # the answer never comes
        SHARED.run(one._seat.cdp.send("Page.crash"))


def wait_on(one: MiniWob) -> None:
    for _ in range(500):
        one.step(WAIT)


@pytest.mark.parametrize("kind", ["renderer", "browser", "driver"])
def test_a_killed_process_is_a_fault_and_the_next_reset_is_whole(several, kind):
    for process in running(kind):
        process.kill()
    for one in several:
        with pytest.raises(EnvironmentFault, match="reset"):
            one.step(WAIT)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(solve_one, several)) == [1, 1, 1]
    assert len(running("browser")) == len(running("driver")) == 1


def test_a_page_that_crashes_in_an_action_is_a_fault_and_all_go_on(several):
    threading.Timer(0.3, crash, several[:1]).start()
    with pytest.raises(EnvironmentFault):
        wait_on(several[0])
    assert [solve_one(one) for one in several] == [1, 1, 1]  # Chromium may have gone down with its page


def test_an_idle_crash_is_noticed_by_reset_alone(several):
    for process in running("renderer"):
        process.kill()
    assert [solve_one(one) for one in several] == [1, 1, 1]


@pytest.mark.parametrize("kind", ["renderer", "browser", "driver"])
def test_a_process_that_hangs_is_a_fault_too(several, kind, monkeypatch):
    monkeypatch.setattr(episode, "ACT_LIMIT", 1.0)
    monkeypatch.setattr(browser, "CLOSE_LIMIT", 0.5)
    monkeypatch.setattr(browser, "PAGE_LIMIT", 3.0)
    stopped = running(kind)
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(EnvironmentFault, match="no answer in 1 s"):
        several[0].step(WAIT)
    assert solve_one(several[0]) == 1
    assert time.monotonic() - started < SECONDS
    if kind != "renderer":  # a page that hangs ends with its browser
        assert not alive(stopped)


def test_a_page_that_never_loads_is_a_fault_and_not_the_end(several, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(environments.miniwob, "BEGIN_LIMIT", 0.001)
        with pytest.raises(EnvironmentFault, match="3 attempts"):
            several[0].reset("click-test", 0)
    assert solve_one(several[0]) == 1


def test_none_is_lost_while_pages_browsers_and_drivers_are_killed(several):
    some = bench.scripts(("click-test", "enter-text"), seeds=2)
    *memory, verdict = bench.endurance(several, some, episodes=60, kills=6)
    assert verdict.startswith("60 episodes")
    assert "60 solved, 0 lost" in verdict
    assert len(memory) == 3
    assert memory_mb() < 900  # three pages take about 400
