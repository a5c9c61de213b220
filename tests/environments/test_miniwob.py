"""MiniWoB++ as an environment: real pages, real clicks, the page's own reward."""

import io

import pytest
from PIL import Image

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._miniwob.host import SHARED
from tracer1.errors import ConfigError
from tracer1.schema import Action


def click_on(environment, selector: str) -> Action:
    """A click on the middle of an element, as a policy that sees it would give it."""
    script = "s => { const r = document.querySelector(s).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }"
    x, y = SHARED.run(environment._episode.document.evaluate(script, selector))
    return Action("click", point=(x / 0.16, y / 0.21))


def test_environment_is_registered():
    assert "miniwob" in ENVIRONMENTS.names()
    assert not any(name.startswith("_") for name in ENVIRONMENTS.names())


def test_reset_gives_instruction_and_screenshot(miniwob):
    instruction, seen = miniwob.reset("login-user", 3)
    picture = Image.open(io.BytesIO(seen.screenshot))
    assert instruction.startswith('Enter the username "')
    assert (picture.format, picture.size) == ("PNG", (160, 210))
    assert seen.text == ""
    assert miniwob.score() == 0
    assert miniwob.platform == "web"
    assert "login-user" in miniwob.tasks()


def test_same_seed_same_screenshot_after_another_task(miniwob):
    first = miniwob.reset("click-collapsible", 5)
    miniwob.step(click_on(miniwob, "#area h3"))
    miniwob.reset("use-spinner", 1)
    assert miniwob.reset("click-collapsible", 5) == first
    assert miniwob.reset("click-collapsible", 6) != first


def test_right_actions_end_with_reward_1(miniwob):
    instruction, before = miniwob.reset("enter-text", 0)
    text = instruction.split('"')[1]
    after, ended = miniwob.step(click_on(miniwob, "#tt"))
    assert after != before
    assert not ended
    for action in (Action("type", content="wrong"), Action("hotkey", key="ctrl a"), Action("type", content=text)):
        assert not miniwob.step(action)[1]
    assert miniwob.score() == 0
    assert miniwob.step(click_on(miniwob, "#subbtn"))[1]
    assert miniwob.score() == 1


def test_wrong_click_ends_with_reward_below_0_and_later_actions_do_nothing(miniwob):
    miniwob.reset("click-test-2", 0)
    assert miniwob.step(click_on(miniwob, "#subbtn2"))[1]
    assert miniwob.score() == -1
    assert miniwob.step(Action("click", point=(500.0, 500.0)))[1]
    assert miniwob.score() == -1


def test_scroll_direction_is_the_side_that_is_revealed(miniwob):
    miniwob.reset("scroll-text-2", 0)
    read = "document.getElementById('text-area').scrollTop"
    start = SHARED.run(miniwob._episode.document.evaluate(read))
    miniwob.step(Action("scroll", direction="down", point=(500.0, 500.0)))
    lower = SHARED.run(miniwob._episode.document.evaluate(read))
    miniwob.step(Action("scroll", direction="up", point=(500.0, 500.0)))
    assert lower > start
    assert SHARED.run(miniwob._episode.document.evaluate(read)) == start


@pytest.mark.parametrize(
    "action",
    [
        Action("press_back"),
        Action("click"),
        Action("hotkey", key="no such key"),
        Action("wait"),
        Action("open_app", app_name="x"),
    ],
    ids=lambda action: action.action_type,
)
def test_action_without_use_changes_nothing(miniwob, action):
    _, before = miniwob.reset("click-test", 0)
    assert miniwob.step(action) == (before, False)


def test_finished_ends_the_episode_without_reward(miniwob):
    miniwob.reset("click-test", 0)
    assert miniwob.step(Action("finished"))[1]
    assert miniwob.score() == 0


def test_unknown_task_names_the_nearest(miniwob):
    with pytest.raises(ConfigError, match="'login-user'"):
        miniwob.reset("login-usr", 0)


def test_no_task_is_refused(miniwob):
    assert {miniwob.refuses(task) for task in miniwob.tasks()} == {""}


def test_step_before_reset_is_a_user_error():
    environment = ENVIRONMENTS.get("miniwob")()
    with pytest.raises(ConfigError, match="reset"):
        environment.step(Action("wait"))
    environment.close()
