"""The recorder's parts that need no browser: places, pictures, rules, surveys, steps."""

import asyncio
import io
import random

import pytest
from PIL import Image

from tracer1.actions import ACTION_TYPES
from tracer1.environments._miniwob import browser
from tracer1.environments._miniwob.episode import DOABLE, HEIGHT, WIDTH, Episode, to_pixel, to_point
from tracer1.environments._miniwob.hand import Move
from tracer1.environments._miniwob.picture import shrink_png
from tracer1.environments._miniwob.record import Recorded, to_steps
from tracer1.environments._miniwob.rules import DEMO, all_rules, rules_for
from tracer1.environments._miniwob.survey import stored, survey, totals
from tracer1.errors import MissingDependency, UnknownName
from tracer1.schema import DONE, NOT_DONE, Action


def test_every_pixel_survives_the_way_to_a_point_and_back():
    assert all(to_pixel(to_point(x, 0)) == (x, 0) for x in range(WIDTH))
    assert all(to_pixel(to_point(0, y)) == (0, y) for y in range(HEIGHT))
    whole = [tuple(map(round, to_point(x, 209))) for x in range(WIDTH)]  # as the policy writes them
    assert [to_pixel(point) for point in whole] == [(x, 209) for x in range(WIDTH)]


def test_points_beyond_the_screenshot_are_clipped():
    assert to_pixel((1000.0, 1000.0)) == (159, 209)
    assert to_point(-3, 500) == (0.0, 1000.0)


@pytest.mark.parametrize("colours", [2, 256, 5000])
def test_shrunken_picture_is_pixel_for_pixel_the_same(colours):
    picture = Image.new("RGB", (160, 210))
    used = [random.Random(i).randrange(colours) for i in range(160 * 210)]
    picture.putdata([(c % 256, c // 256, 9) for c in used])
    out = io.BytesIO()
    picture.convert("RGBA").save(out, "PNG", compress_level=1)
    small = shrink_png(out.getvalue())
    assert len(small) < len(out.getvalue())
    assert Image.open(io.BytesIO(small)).mode == ("P" if colours <= 256 else "RGB")
    assert Image.open(io.BytesIO(small)).convert("RGB").tobytes() == picture.tobytes()


def test_there_are_rules_for_at_least_40_tasks_and_20_long_ones():
    scores = stored(all_rules().values())
    assert len(scores) >= 40
    assert sum(score.actions >= 3 for score in scores) >= 20
    assert all(score.solved >= 1 for score in scores), "run tools/record_miniwob.py --tasks all --verify 20 again"


def test_stored_survey_solves_95_percent():
    scores = stored(all_rules().values())
    assert sum(s.solved for s in scores) >= 0.95 * sum(s.tried for s in scores)


def test_no_privileged_task_is_in_the_demo():
    assert not [rule.task for rule in rules_for(["demo"]) if rule.privileged]
    assert len(DEMO) == len(set(DEMO)) >= 16


def test_unknown_task_is_named_with_its_neighbour():
    with pytest.raises(UnknownName, match="'click-tab'"):
        rules_for(["click-tabb"])


def test_every_action_the_environment_does_is_in_the_action_table():
    assert set(DOABLE) <= set(ACTION_TYPES)
    assert all(callable(getattr(Episode, f"_{name}")) for name in DOABLE)


def test_steps_carry_their_past_and_their_future():
    rule = all_rules()["enter-text"]
    moves = [
        Move(Action("click", f"move {t}", point=(1.0, 2.0)), b"png", "1 button", ((0.0, 0.0, 9.0, 9.0),))
        for t in range(3)
    ]
    steps = to_steps(rule, 7, "goal", moves, "Chromium 1")
    assert [step.key for step in steps] == [f"miniwob-enter-text-000007-{t:03d}" for t in range(3)]
    assert [len(step.history) for step in steps] == [0, 1, 2]
    assert [len(step.future) for step in steps] == [3, 2, 1]
    assert [plan.status for plan in steps[0].future] == [NOT_DONE, NOT_DONE, DONE]
    assert [plan.number for plan in steps[0].future] == [1, 2, 3]
    assert steps[1].history == steps[0].future[:1]
    assert steps[2].meta["seed"] == 7
    assert steps[2].boxes == ((0.0, 0.0, 9.0, 9.0),)


def test_survey_counts_per_task():
    rules = rules_for(["click-test", "enter-text"])
    steps = to_steps(rules[0], 0, "goal", [Move(Action("click"), b"", "")], "")
    results = [Recorded("click-test", 0, steps, 1, 1.0), Recorded("click-test", 1, reason="raw reward -1")]
    click, enter = survey(rules, results)
    assert (click.solved, click.tried, click.actions, click.failures) == (1, 2, 1.0, {"1": "raw reward -1"})
    assert (enter.solved, enter.tried) == (0, 0)
    assert "solved 1 of 2 (50.0 %)" in totals([click, enter])


def test_missing_browser_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("TRACER1_CHROMIUM", "no-such-browser")
    with pytest.raises(MissingDependency, match="apt-get install -y chromium-headless-shell"):
        browser.binary()


def test_missing_pages_say_how_to_install_them(monkeypatch):
    monkeypatch.setattr(browser.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'tracer1\[browser\]'"):
        browser.html_folder()


def test_many_pages_are_opened_a_few_at_a_time(monkeypatch):
    opening, most = set(), []

    async def open_page(running) -> tuple[None, None]:
        opening.add(asyncio.current_task())
        most.append(len(opening))
        await asyncio.sleep(0.001)
        opening.discard(asyncio.current_task())
        return None, None

    class Running(browser.Browser):
        async def _running(self) -> None: ...

    async def open_all() -> int:
        one = Running()
        return len(await asyncio.gather(*(one.new_page() for _ in range(20))))

    monkeypatch.setattr(browser, "_open_page", open_page)
    assert asyncio.run(open_all()) == 20
    assert max(most) == browser.OPENED_AT_ONCE
