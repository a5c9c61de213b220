"""Our own tool-use tasks in the agent's loop, with real tools: the expert's actions solve them, and every prompt is the training's."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from desks import need_tesseract, real_sandbox

from tracer1.data.shards import read_trajectories
from tracer1.environments.tools import Tools
from tracer1.executors.direct import DirectExecutor
from tracer1.parsing import format_plan, parse_plan
from tracer1.plan_act.episode import Job, Rules
from tracer1.plan_act.side_by_side import play_all
from tracer1.prompts import brief_prompt
from tracer1.schema import Response, Rollout, Step

DEMO = Path(__file__).parents[2] / "demo" / "tool_tasks"
NAMES = ("equation-0602", "bill-0605", "code-0607", "sign-0609", "turn-0610", "thing-0611")


class Experts:
    """Plans what was recorded for each task."""

    def __init__(self, steps: dict[str, list[Step]]) -> None:
        self.steps, self.asked = steps, {name: [] for name in steps}

    def plan(self, step: Step, attempt: int) -> Rollout:
        name = step.meta["task"]
        self.asked[name].append(step)
        text = format_plan(self.steps[name][step.index].future, step.index + 1)
        return Rollout(step, Response(text, (), ()), parse_plan(text))

    def serve(self, until: threading.Event, callers: object = None) -> None:
        until.wait()


@pytest.fixture(scope="module")
def sandbox() -> Iterator:
    need_tesseract()
    with real_sandbox() as sandbox:
        yield sandbox


def test_the_experts_calls_solve_the_tasks_again_and_are_asked_for_as_in_training(sandbox):
    shard = str(next(DEMO.glob("*-heldout-*")))
    every = {steps[0].trajectory: steps for steps in read_trajectories(shard, history=4, horizon=4)}
    experts = Experts({name: every[name] for name in NAMES})
    environments = [Tools(str(DEMO), sandbox=sandbox) for _ in range(2)]
    jobs = [Job(name, 0) for name in NAMES]
    results = play_all(jobs, environments, experts, DirectExecutor(), Rules())
    assert [(r.job.task, r.score, r.end, r.lost) for r in results] == [(name, 1.0, "done", 0) for name in NAMES]
    for name in NAMES:
        assert [brief_prompt(step, 4) for step in experts.asked[name]] == [
            brief_prompt(step, 4) for step in every[name]
        ]
    for environment in environments:
        environment.close()
