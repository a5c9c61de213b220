"""The demo set in the repository: small enough, clean, and recorded again with the same actions and screenshots."""

import io
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from screens import same_screen

from tracer1.data.shards import read_trajectories
from tracer1.environments._miniwob.record import record
from tracer1.environments._miniwob.rules import DEMO, rules_for
from tracer1.schema import DONE, NOT_DONE, Step

SHARDS = Path(__file__).parents[2] / "demo" / "shards"
HELD_OUT = 100000  # seeds from here on are held out


def load(split: str) -> list[list[Step]]:
    paths = sorted(SHARDS.glob(f"*-{split}-*.tar.gz"))
    assert paths, f"no {split} shards in {SHARDS}; demo/README.md has the command that records them"
    return [steps for path in paths for steps in read_trajectories(str(path), history=None, horizon=None)]


@pytest.fixture(scope="module")
def train() -> list[list[Step]]:
    return load("train")


@pytest.fixture(scope="module")
def heldout() -> list[list[Step]]:
    return load("heldout")


def test_demo_set_is_at_most_8_mb():
    assert sum(path.stat().st_size for path in SHARDS.iterdir()) <= 8_000_000


def test_seeds_of_train_and_heldout_are_apart(train, heldout):
    assert all(steps[0].meta["seed"] < HELD_OUT for steps in train)
    assert all(steps[0].meta["seed"] >= HELD_OUT for steps in heldout)
    tasks = Counter(steps[0].meta["task"] for steps in heldout)
    assert set(tasks) == {steps[0].meta["task"] for steps in train} == set(DEMO)
    assert min(tasks.values()) >= 0.9 * max(tasks.values())


def test_half_of_the_demo_tasks_have_3_or_more_actions(train):
    lengths = {task: [len(s) for s in train if s[0].meta["task"] == task] for task in DEMO}
    assert sum(sum(n) / len(n) >= 2.8 for n in lengths.values()) >= len(DEMO) / 2
    types = {step.future[0].action.action_type for steps in train for step in steps}
    assert types == {"click", "type", "hotkey", "scroll", "drag"}


def test_every_step_is_proven_public_and_complete(train, heldout):
    for steps in train + heldout:
        assert [step.future[0].status for step in steps] == [NOT_DONE] * (len(steps) - 1) + [DONE]
        for step in steps:
            assert step.meta["raw_reward"] == 1
            assert not step.meta["privileged"]
            assert Image.open(io.BytesIO(step.screenshot)).size == step.image_size == (160, 210)


def test_pressed_points_lie_in_their_boxes(train, heldout):
    for step in (step for steps in train + heldout for step in steps):
        action = step.future[0].action
        assert (action.point is None) == (not step.boxes), step.key
        if action.point:
            x, y = action.point
            assert any(x1 <= x <= x2 and y1 <= y <= y2 for x1, y1, x2, y2 in step.boxes), step.key


def test_words_are_few(train):
    plans = [step.future[0] for steps in train for step in steps]
    words = {word for plan in plans for word in re.findall(r"[a-z]{2,}", plan.action.step_instruction.lower())}
    assert len(words) <= 80
    assert max(len(plan.action.step_instruction.split()) for plan in plans) <= 9
    assert max(len(plan.screenshot_abstraction.split()) for plan in plans) <= 10


def test_recorded_again_it_is_the_same(browser_installed, heldout):
    """Two trajectories of each task; pixels are compared when the browser is the one that the set was recorded with."""
    chosen = {task: [s for s in heldout if s[0].meta["task"] == task][:2] for task in DEMO}
    stored = [steps for both in chosen.values() for steps in both]
    jobs = [(rules_for([s[0].meta["task"]])[0], s[0].meta["seed"]) for s in stored]
    for old, result in zip(stored, record(jobs, workers=4), strict=True):
        assert result.solved, f"{old[0].key}: {result.reason}"
        assert [s.instruction for s in result.steps] == [s.instruction for s in old]
        assert [s.future[0].action.step_instruction for s in result.steps] == [
            s.future[0].action.step_instruction for s in old
        ]
        if old[0].meta["browser"] == result.steps[0].meta["browser"]:
            assert [s.future[0] for s in result.steps] == [s.future[0] for s in old]
            assert [s.boxes for s in result.steps] == [s.boxes for s in old]
            for a, b in zip(old, result.steps, strict=True):
                assert same_screen(a.screenshot, b.screenshot), a.key
