"""The expert on real pages: what it records can be recorded again, whatever the number of workers, even after a crash."""

from dataclasses import replace

import psutil
import pytest
from screens import same_screen

from tracer1.environments._miniwob.episode import HEIGHT, WIDTH
from tracer1.environments._miniwob.record import Recorded, record
from tracer1.environments._miniwob.rules import rules_for
from tracer1.schema import DONE, Step

VARIED = [
    "click-shades",
    "choose-list",
    "copy-paste",
    "drag-box",
    "click-menu",
    "form-sequence",
    "scroll-text-2",
    "use-autocomplete",
]


def jobs(tasks: list[str], *seeds: int) -> list:
    return [(rule, seed) for seed in seeds for rule in rules_for(tasks)]


@pytest.fixture(scope="module")
def recorded(browser_installed) -> list[Recorded]:
    return list(record(jobs(VARIED, 2), workers=4))


def test_only_episodes_with_reward_1_give_steps(recorded):
    assert all(result.solved and result.reward == 1 for result in recorded)
    steps = [step for result in recorded for step in result.steps]
    types = {step.future[0].action.action_type for step in steps}
    assert {"click", "select", "hotkey", "drag", "hover", "scroll"} <= types
    assert all(result.steps[-1].future[0].status == DONE for result in recorded)
    assert all(step.image_size == (WIDTH, HEIGHT) and step.meta["raw_reward"] == 1 for step in steps)


def test_pressed_point_lies_in_the_stored_box(recorded):
    for step in (step for result in recorded for step in result.steps):
        check_box(step)


def check_box(step: Step) -> None:
    action = step.future[0].action
    assert (action.point is None) == (not step.boxes), step.key
    if action.point:
        x, y = action.point
        assert any(x1 <= x <= x2 and y1 <= y <= y2 for x1, y1, x2, y2 in step.boxes), step.key
        assert all(0 <= low < high <= 1000 for box in step.boxes for low, high in (box[::2], box[1::2])), step.key


def test_one_worker_records_the_same(recorded):
    again = list(record(jobs(VARIED, 2), workers=1))
    for first, second in zip(recorded, again, strict=True):
        assert [replace(step, screenshot=None) for step in first.steps] == [
            replace(step, screenshot=None) for step in second.steps
        ]
        for a, b in zip(first.steps, second.steps, strict=True):
            assert same_screen(a.screenshot, b.screenshot), a.key


def test_an_agent_that_repeats_the_actions_sees_the_same_and_is_rewarded(recorded, miniwob):
    for result in recorded:
        instruction, seen = miniwob.reset(result.task, result.seed)
        assert instruction == result.steps[0].instruction
        for step in result.steps:
            assert same_screen(seen.screenshot, step.screenshot), step.key
            seen, ended = miniwob.step(step.future[0].action)
        assert ended
        assert miniwob.score() == 1


def test_recording_goes_on_after_the_browser_was_killed(browser_installed):
    results = record(jobs(["enter-text"], *range(6)), workers=2, batch=3)
    first = [next(results) for _ in range(2)]
    killed = [child for child in psutil.Process().children(recursive=True) if is_main_browser(child)]
    for child in killed:
        child.kill()
    rest = list(results)
    assert killed
    assert [result.seed for result in first + rest] == list(range(6))
    assert all(result.solved for result in first + rest)


def is_main_browser(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "chrom" in process.name() and "--type=" not in command


def test_a_rule_that_fails_gives_a_reason_and_no_steps(browser_installed):
    rule = rules_for(["click-test-2"])[0]

    async def wrong(hand, goal):
        await hand.click("#subbtn2", "button two")

    (result,) = record([(type(rule)("click-test-2", wrong), 0)], workers=1)
    assert not result.solved
    assert result.reason == "raw reward -1"
