"""Several environments on one browser: the same pictures everywhere, nothing shared, and nothing lost when parts of it die or hang."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from playwright.async_api import Error

from tracer1 import environments
from tracer1.environments import ENVIRONMENTS
from tracer1.environments._miniwob import bench, browser, episode
from tracer1.environments._miniwob.host import SHARED
from tracer1.environments._miniwob.processes import memory_mb, running
from tracer1.environments.miniwob import MiniWob
from tracer1.errors import EnvironmentFault
from tracer1.schema import Action

WAIT = Action("hover", point=(990.0, 990.0))
TASKS = ("click-shades", "login-user", "use-spinner", "click-dialog", "form-sequence", "click-collapsible")
SECONDS = 60  # far more than anything here takes on a busy machine: what hangs would take for ever


@pytest.fixture
def several(browser_installed) -> Iterator[list[MiniWob]]:
    """Three environments, each with an episode under way."""
    made = [ENVIRONMENTS.get("miniwob")() for _ in range(3)]
    try:
        for one in made:
            one.reset("click-test", 0)
        yield made
    finally:
        for one in made:
            one.close()


def evaluate(one: MiniWob, script: str):
    return SHARED.run(one._episode.page.evaluate(script))


def middle(one: MiniWob, selector: str) -> tuple[float, float]:
    x, y = evaluate(
        one,
        f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('{selector}').getBoundingClientRect())",
    )
    return x / 0.16, y / 0.21


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def crash(one: MiniWob) -> None:
    with contextlib.suppress(Error):  # the answer never comes
        SHARED.run(one._seat.cdp.send("Page.crash"))


def wait_on(one: MiniWob) -> None:
    for _ in range(500):
        one.step(WAIT)


def solve_one(one: MiniWob) -> float:
    one.reset("click-test", 1)
    assert one.step(Action("click", point=middle(one, "#subbtn")))[1]
    return one.score()


def test_environments_share_one_browser_and_the_last_one_stops_it(several):
    assert len(running("browser")) == len(running("driver")) == 1
    processes = running("browser") + running("driver") + running("renderer")
    several[0].close()
    several[0].close()  # once is enough, twice does no harm
    assert solve_one(several[1]) == 1
    several[1].close()
    several[2].close()
    psutil.wait_procs(processes, 5)
    assert not alive(processes)
    assert solve_one(several[0]) == 1  # a closed one starts anew


def test_same_task_and_seed_begin_with_the_same_bytes_on_every_seat_at_once(several):
    several[0].reset("click-collapsible", 5)  # the seats have different pasts
    several[0].step(Action("click", point=middle(several[0], "#area h3")))
    several[1].step(Action("click", point=(500.0, 500.0)))
    with ThreadPoolExecutor(3) as pool:
        for task in TASKS:
            first, *others = pool.map(lambda one, task=task: one.reset(task, 7), several)
            assert all(other == first for other in others), task


def test_what_one_copies_no_other_pastes(several):
    a, b, c = several
    for seed, one in enumerate((a, b)):
        one.reset("copy-paste", seed)
        one.step(Action("click", point=middle(one, "#to-copy")))
        one.step(Action("hotkey", key="ctrl a"))
        one.step(Action("hotkey", key="ctrl c"))
    c.reset("copy-paste", 0)
    for one in several:
        one.step(Action("click", point=middle(one, "#answer-input")))
        one.step(Action("hotkey", key="ctrl v"))
    for one in (a, b):
        text, pasted = evaluate(one, "['#to-copy', '#answer-input'].map(s => document.querySelector(s).value)")
        assert pasted == text != ""
    assert evaluate(c, "document.querySelector('#answer-input').value") == ""


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


def test_a_crashed_page_leaves_the_others_alone(several):
    threading.Timer(0.3, crash, several[:1]).start()
    with pytest.raises(EnvironmentFault):
        wait_on(several[0])
    assert not several[1].step(WAIT)[1]
    assert solve_one(several[0]) == 1
    assert solve_one(several[2]) == 1


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


def test_pages_are_replaced_before_they_grow(several, monkeypatch):
    monkeypatch.setattr(browser, "EPISODES_PER_CONTEXT", 3)
    pages = []
    for _ in range(5):
        several[0].reset("click-test", 0)
        pages.append(several[0]._episode.page)
    assert pages[0] is pages[1]
    assert len(set(map(id, pages))) == 2
    assert len(pages[-1].context.browser.contexts) == 3


def test_leaving_the_page_ends_the_episode_without_reward(several):
    evaluate(several[0], "setTimeout(() => location.reload(), 0) && 0")
    assert several[0].step(WAIT)[1] or several[0].step(WAIT)[1]
    assert several[0].score() == 0
    assert solve_one(several[0]) == 1


@pytest.mark.parametrize(
    "action", [Action("hotkey", key="é"), Action("hotkey", key="ctrl ß"), Action("type", content="\ud800 \x00 🎉")]
)
def test_characters_that_no_key_has_are_no_fault(several, action):
    assert not several[0].step(action)[1]


def test_none_is_lost_while_pages_browsers_and_drivers_are_killed(several):
    some = bench.scripts(("click-test", "enter-text"), seeds=2)
    *memory, verdict = bench.endurance(several, some, episodes=60, kills=6)
    assert verdict.startswith("60 episodes")
    assert "60 solved, 0 lost" in verdict
    assert len(memory) == 3
    assert memory_mb() < 900  # three pages take about 400
