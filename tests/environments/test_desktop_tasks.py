"""Every task of `desktop`: 0 before acting, 1 after its solution, on a real desktop with real applications."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer1.environments._desktop.tasks import OURS, need, read_tasks
from tracer1.environments.desktop import Desktop
from tracer1.errors import MissingDependency
from tracer1.schema import Action

sys.path.insert(0, str(Path(__file__).parent))
from desktop_fixtures import SMALL, act, or_skip, skip
from desktop_solutions import SOLUTIONS

TASKS = read_tasks(OURS)


@pytest.fixture(scope="module")
def desktop() -> Iterator[Desktop]:
    or_skip()
    environment = Desktop(**SMALL)
    yield environment
    environment.close()


def test_there_are_enough_tasks_over_enough_applications_and_each_has_a_solution():
    applications = {app for task in TASKS.values() for app in task["related_apps"]}
    assert len(TASKS) >= 12
    assert applications >= {"mousepad", "xterm", "pcmanfm", "libreoffice_calc"}
    assert sum(task["evaluator"]["func"] == "infeasible" for task in TASKS.values()) >= 1
    assert set(SOLUTIONS) == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_whatever_is_launched_is_waited_for(name: str):
    steps = [step["type"] for step in TASKS[name]["config"]]
    assert all(
        after == "activate_window" for step, after in zip(steps, [*steps[1:], ""], strict=True) if step == "launch"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_task_scores_nothing_before_and_everything_after_its_solution(desktop: Desktop, name: str):
    if reason := desktop.refuses(name):
        skip(reason)
    instruction, _ = desktop.reset(name, seed=0)
    assert instruction == TASKS[name]["instruction"]
    assert desktop.score() == 0
    act(desktop, *SOLUTIONS[name])
    assert desktop.score() == 1


def test_giving_up_on_a_task_that_can_be_done_is_a_failure(desktop: Desktop):
    desktop.reset("xterm-protect-file", seed=0)
    act(desktop, *SOLUTIONS["xterm-protect-file"][:1])
    assert desktop.score() == 1
    _, ended = desktop.step(Action("call_user"))
    assert ended
    assert desktop.score() == 0


def test_claiming_to_have_done_what_cannot_be_done_is_a_failure(desktop: Desktop):
    desktop.reset("xterm-pair-headphones", seed=0)
    desktop.step(Action("finished"))
    assert desktop.score() == 0


def test_the_programs_of_a_task_are_named_when_absent():
    with pytest.raises(MissingDependency, match="no-such-editor"):
        need(programs=["no-such-editor"])
