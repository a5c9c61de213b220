"""An episode's document lives in a frame: it looks like the page loaded by itself, and nothing of it is left for the next one."""

import time
from pathlib import Path

import pytest
from pages import evaluate, solve_one

from tracer1.environments._miniwob import episode
from tracer1.environments._miniwob.episode import AWAY, Episode
from tracer1.environments._miniwob.host import SHARED
from tracer1.schema import Action

WAIT = Action("hover", point=(990.0, 990.0))
PROBE = Path(episode.__file__).with_name("probe.js")
TRACES = """localStorage.trace = sessionStorage.trace = 1; window.trace = window.name = 'trace'; Array.prototype.trace = 1;
    core.trace = 1; setInterval(() => { parent.ticks = (parent.ticks || 0) + 1; }, 1); document.cookie = 'trace=1';
    addEventListener('mousemove', () => { parent.moves = (parent.moves || 0) + 1; }); 0"""
FOUND = "[localStorage.trace, sessionStorage.trace, window.trace, window.name, [].trace, core.trace, document.cookie, history.state]"


async def loaded_by_itself(task: str, seed: int) -> bytes:
    """The first screenshot of a page that no frame is around."""
    page, cdp = await SHARED.browser.new_page()
    await page.add_init_script(path=PROBE)
    await page.mouse.move(*AWAY)
    await page.goto((SHARED.browser.pages_at / f"{task}.html").as_uri())
    settled = "async () => { do await __probe.drawn(); while (__probe.moving()); }"
    await page.evaluate(f"__probe.begin({seed}, {settled})")
    screenshot = await Episode(page, cdp, SHARED.browser.pages_at).look()
    await page.context.close()
    return screenshot


@pytest.mark.parametrize(
    "task",
    ["login-user", "click-dialog", "form-sequence", "number-checkboxes", "unicode-test", "social-media", "click-menu"],
)
def test_a_task_looks_as_if_its_page_were_loaded_by_itself(miniwob, task):
    _, seen = miniwob.reset(task, 7)
    assert SHARED.run(loaded_by_itself(task, 7)) == seen.screenshot


def test_a_page_without_a_charset_is_read_as_a_browser_reads_it(miniwob):
    assert miniwob.reset("unicode-test", 7)[0] == 'Click on the "♥♥♥" button.'


def test_nothing_of_an_episode_is_left_for_the_next_one(miniwob):
    miniwob.reset("click-test", 0)
    whole = evaluate(miniwob, FOUND)
    evaluate(miniwob, TRACES)
    miniwob.step(WAIT)
    assert evaluate(miniwob, "parent.ticks") > 0
    assert evaluate(miniwob, "parent.moves") > 0
    assert evaluate(miniwob, FOUND) != whole
    miniwob.reset("click-test", 0)
    assert evaluate(miniwob, FOUND) == whole
    moves, ticks = evaluate(miniwob, "[parent.moves, parent.ticks]")
    miniwob.step(WAIT)
    time.sleep(0.05)
    assert evaluate(miniwob, "[parent.moves, parent.ticks]") == [moves, ticks]
    assert evaluate(miniwob, "parent.frames.length") == 1


def test_keys_go_to_the_episode_from_its_start(miniwob):
    miniwob.reset("login-user", 0)
    for name in ("username", "password"):
        miniwob.step(Action("hotkey", key="tab"))
        assert evaluate(miniwob, "document.activeElement.id") == name


@pytest.mark.parametrize(
    "leave",
    [
        "location = 'no-such.html'",
        "location = 'data:text/html,x'",
        "location = 'http://127.0.0.1:9/'",
        "top.location = 'core.js'",
    ],
)
def test_leaving_the_page_ends_the_episode_and_the_next_one_is_whole(miniwob, leave):
    miniwob.reset("click-test", 0)
    evaluate(miniwob, f"setTimeout(() => {{ {leave}; }}, 0) && 0")
    assert any(miniwob.step(WAIT)[1] for _ in range(10))
    assert miniwob.score() == 0
    assert solve_one(miniwob) == 1


def test_a_page_that_waits_for_its_agent_does_nothing(miniwob):
    miniwob.reset("click-test", 0)
    evaluate(
        miniwob,
        "new MutationObserver(() => { window.changed = 1; }).observe(document, {subtree: true, childList: true}) || 0",
    )
    time.sleep(1.2)  # the page's own countdown would have ticked
    assert evaluate(miniwob, "window.changed") is None
