"""A toy environment (a square that moves where it is clicked), planners and watchers for the tests of the plan-act loop.

The task `reach` is to bring the square to a place that the instruction names; `endless` never ends; `crash-<n>` crashes in its n-th
step the first time, `crash-always` every time.
"""

import io
import random
import threading
from collections.abc import Callable, Sequence
from typing import ClassVar

from PIL import Image, ImageDraw

from tracer1.errors import ConfigError, EnvironmentFault
from tracer1.interfaces import Observation
from tracer1.parsing import format_plan, parse_plan
from tracer1.plan_act.episode import Episode, Turn
from tracer1.schema import DONE, NOT_DONE, Action, Outcome, PlanStep, Point, Response, Rollout, Step

SIZE = 100


class SquareWorld:
    """Moves a square to where it is clicked; score 1 where that is the goal, -1 otherwise."""

    platform = "web"
    refused: ClassVar[dict[str, str]] = {}  # task -> why

    def __init__(self) -> None:
        self.place: Point = (0.0, 0.0)
        self.goal: Point = (0.0, 0.0)
        self.task = ""
        self.done: list[Action] = []
        self.resets: list[tuple[str, int]] = []
        self.crashed: set[str] = set()
        self.broken = False
        self.closed = False
        self.threads: set[str] = set()

    def tasks(self) -> Sequence[str]:
        return ["reach", "endless", "crash-1", "crash-2", "crash-always"]

    def refuses(self, task: str) -> str:
        return self.refused.get(task, "")

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        if task not in self.tasks():
            raise ConfigError(f"No task {task!r} in the square world.")
        self.resets.append((task, seed))
        self.threads.add(threading.current_thread().name)
        self.broken, self.task, self.done = False, task, []
        noise = random.Random(seed)
        self.place = (float(noise.randrange(100, 900)), float(noise.randrange(100, 900)))
        self.goal = (float(noise.randrange(100, 900)), float(noise.randrange(100, 900)))
        return f"Bring the square to {self.goal[0]:g}, {self.goal[1]:g}.", self._look()

    def step(self, action: Action) -> tuple[Observation, bool]:
        assert not self.broken, "a crashed world was used without a reset"
        self.threads.add(threading.current_thread().name)
        self.done.append(action)
        self._maybe_crash()
        if action.point is not None:
            self.place = action.point
        return self._look(), self.task == "reach" and self.place == self.goal

    def score(self) -> float:
        return 1.0 if self.place == self.goal else -1.0

    def close(self) -> None:
        self.closed = True

    def _maybe_crash(self) -> None:
        when = self.task.removeprefix("crash-")
        if when == "always" or (when == str(len(self.done)) and self.task not in self.crashed):
            self.crashed.add(self.task)
            self.broken = True
            raise EnvironmentFault("The square world has crashed; its next reset\nbegins on a whole one.")

    def _look(self) -> Observation:
        image = Image.new("RGB", (SIZE, SIZE), "white")
        x, y = (part * SIZE / 1000 for part in self.place)
        ImageDraw.Draw(image).rectangle([x - 4, y - 4, x + 4, y + 4], fill="red")
        out = io.BytesIO()
        image.save(out, "PNG")
        return Observation(out.getvalue(), f"square at {self.place[0]:g}, {self.place[1]:g}")


def goal_of(step: Step) -> Point:
    """The place that an instruction names."""
    x, y = step.instruction.removeprefix("Bring the square to ").removesuffix(".").split(", ")
    return float(x), float(y)


def click(point: Point, words: str = "click there", status: str = NOT_DONE, seen: str = "a red square") -> PlanStep:
    return PlanStep(Action("click", words, point=point), status, seen)


def plan_to_goal(step: Step, attempt: int) -> str:
    """Two clicks: first the middle, then the goal."""
    goal = click(goal_of(step), "click the goal", DONE)
    return format_plan([goal] if step.history else [click((500.0, 500.0), "click the middle"), goal], step.index + 1)


class ScriptedPlanner:
    """Answers with what a function (step, attempt) -> text says; keeps what it was asked."""

    def __init__(self, say: Callable[[Step, int], str] = plan_to_goal) -> None:
        self.say = say
        self.asked: list[tuple[Step, int]] = []

    def plan(self, step: Step, attempt: int) -> Rollout:
        self.asked.append((step, attempt))
        text = self.say(step, attempt)
        return Rollout(step, Response(text, (), ()), parse_plan(text))

    def serve(self, until: threading.Event) -> None:
        until.wait()


class Notes:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[Episode, int, Observation]] = []
        self.turns: list[tuple[Episode, Turn]] = []
        self.episodes: list[Episode] = []

    def looked(self, episode: Episode, number: int, seen: Observation) -> None:
        self.seen.append((episode, number, seen))

    def turned(self, episode: Episode, turn: Turn) -> None:
        self.turns.append((episode, turn))

    def ended(self, episode: Episode) -> None:
        self.episodes.append(episode)


class Refuses:
    """An executor that says of some actions that they cannot be executed, or that it failed."""

    def __init__(self, outcome: Callable[[Rollout], Outcome]) -> None:
        self.outcome = outcome

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        return [self.outcome(rollout) for rollout in rollouts]
