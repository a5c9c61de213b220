"""A toy environment of doors, a planner that clicks once, and a benchmark on them."""

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from PIL import Image

from tracer1.benchmarks._played import PlayedBenchmark
from tracer1.errors import ConfigError, EnvironmentFault
from tracer1.interfaces import Observation
from tracer1.parsing import format_plan, parse_plan
from tracer1.plan_act.episode import Result
from tracer1.schema import NOT_DONE, Action, Outcome, PlanStep, Response, Rollout, Step

SCORES = {"open": 1.0, "shut": -1.0, "half": 0.5, "slow": 0.0}
FAULTY = ("broken", "shaky")  # always; on an episode's first attempt
REFUSED = {"locked": "'open_lock' needs a key, which is not installed"}


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(out, "PNG")
    return out.getvalue()


class Doors:
    """A click ends the episode, but for `slow`; `odd` opens for odd seeds."""

    platform = "web"
    made: ClassVar[list["Doors"]] = []
    begun: ClassVar[dict[tuple[str, int], int]] = {}  # (task, seed) -> attempts

    def __init__(self) -> None:
        self.task, self.seed, self.closed = "", 0, False
        Doors.made.append(self)

    def tasks(self) -> Sequence[str]:
        return sorted([*SCORES, *FAULTY, *REFUSED, "odd"])

    def refuses(self, task: str) -> str:
        return REFUSED.get(task, "")

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        if task not in self.tasks() or task in REFUSED:
            raise ConfigError(f"{task} cannot be played.")
        self.task, self.seed = task, seed
        Doors.begun[task, seed] = Doors.begun.get((task, seed), 0) + 1
        return f"Open the door {task} {seed}.", Observation(picture())

    def step(self, action: Action) -> tuple[Observation, bool]:
        if self.task == "broken" or (self.task == "shaky" and Doors.begun[self.task, self.seed] == 1):
            raise EnvironmentFault("The door fell out of its frame.")
        return Observation(picture()), self.task != "slow"

    def score(self) -> float:
        return float(self.seed % 2) if self.task in ("odd", "shaky") else SCORES[self.task]

    def close(self) -> None:
        self.closed = True


class Clicker:
    """Plans one click; `says` may say otherwise. `stop_after` plans it is as if somebody pressed Ctrl-C."""

    def __init__(self, says: Callable[[Step, int], str] | None = None, stop_after: int | None = None) -> None:
        self.says, self.stop_after = says or click, stop_after
        self.plans = 0
        self.enough = threading.Event()

    def plan(self, step: Step, attempt: int) -> Rollout:
        self.plans += 1
        if self.plans == self.stop_after:
            self.enough.set()
            threading.Event().wait(0.3)
        text = self.says(step, attempt)
        return Rollout(step, Response(text, (), ()), parse_plan(text))

    def serve(self, until: threading.Event) -> None:
        while not until.is_set():
            if self.enough.wait(0.01):
                raise KeyboardInterrupt


def click(step: Step, attempt: int) -> str:
    return format_plan([PlanStep(Action("click", "knock", point=(1.0, 2.0)), NOT_DONE, "a door")], step.index + 1)


class Direct:
    """Executes the first step as it is."""

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        return [Outcome(action=rollout.plan.steps[0].action) for rollout in rollouts]


@dataclass(kw_only=True)
class DoorsBenchmark(PlayedBenchmark):
    """Open or not."""

    tasks: str | Sequence[str] = ("open", "shut", "half", "odd")
    seeds: int | Sequence[int] = 4
    draws: int = 200
    left_out: dict[str, str] = field(default_factory=dict)

    name: ClassVar[str] = "doors"
    rule: ClassVar[str] = "wide_open"
    rule_says: ClassVar[str] = "the door is open"

    def make_environment(self) -> Doors:
        return Doors()

    def excluded(self, environment: Doors) -> dict[str, str]:
        return self.left_out

    def success(self, result: Result) -> bool:
        return result.score == 1

    def about(self, environment: Doors) -> dict[str, int]:
        return {"doors": len(environment.tasks())}
