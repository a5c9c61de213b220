"""Several environments on one browser: the same pictures everywhere, nothing shared, nothing that an agent can break."""

from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from pages import alive, evaluate, middle, solve_one

from tracer1.environments._miniwob import browser
from tracer1.environments._miniwob.processes import running
from tracer1.schema import Action

WAIT = Action("hover", point=(990.0, 990.0))
TASKS = ("click-shades", "login-user", "use-spinner", "click-dialog", "form-sequence", "click-collapsible")


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
