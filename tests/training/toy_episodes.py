"""Episodes in small: pages on which any click counts, an engine whose plans depend on the seed alone, streams made of them.

As a plugin it registers the environment `toy_pages`.
"""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import toy_run

from tracer1.algorithms.objective import Objective
from tracer1.environments import ENVIRONMENTS
from tracer1.errors import EnvironmentFault
from tracer1.executors.direct import DirectExecutor
from tracer1.interfaces import Observation, Sampling
from tracer1.parsing import format_plan
from tracer1.plan_act.episode import Rules
from tracer1.schema import DONE, NOT_DONE, Action, PlanStep, Prompt, Response
from tracer1.training.arena import Arena
from tracer1.training.episodes import SeededTasks
from tracer1.training.online import EpisodeStream
from tracer1.training.round_size import RoundSize

SIZE = RoundSize(prompts_per_round=4, prompts_per_update=2, group_size=3, groups_per_micro_batch=1)


@ENVIRONMENTS.register("toy_pages")
class Pages:
    """An episode's score is the mean x of its clicks, in 0..1; it takes as long as it likes. The task `dies` is never played."""

    platform = "web"

    def __init__(self, slow: random.Random | None = None) -> None:
        self.slow, self.clicks, self.task, self.seed = slow, [], "", 0

    def tasks(self) -> Sequence[str]:
        return ["long", "short", "dies"]

    def refuses(self, task: str) -> str:
        return ""

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        self.clicks, self.task, self.seed = [], task, seed
        if task == "dies":
            raise EnvironmentFault("The page is gone.")
        return f"click {task} {seed % 7}", self._look()

    def step(self, action: Action) -> tuple[Observation, bool]:
        self.clicks.append(action.point[0] / 1000)
        return self._look(), len(self.clicks) == (3 if self.task == "long" else 1)

    def score(self) -> float:
        return sum(self.clicks) / len(self.clicks) if self.clicks else 0.0

    def close(self) -> None: ...

    def _look(self) -> Observation:
        if self.slow is not None:
            time.sleep(self.slow.random() / 200)
        return Observation(toy_run.picture(self.seed % 5 + len(self.clicks)))


class PlanEngine:
    """One click somewhere, by the seed; one plan in five cannot be read. Keeps in which batches it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[str, int]]] = []
        self.served = 0
        self.thread = ""

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        self.served += 1
        yield

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        self.thread = threading.current_thread().name
        self.batches.append(
            [(prompt.key, seed) for prompt, group in zip(prompts, seeds, strict=True) for seed in group]
        )
        return [self.answer(seed) for group in seeds for seed in group]

    @staticmethod
    def answer(seed: int) -> Response:
        where = (float(seed % 1000), 500.0)
        step = PlanStep(Action("click", "click there", point=where), DONE if seed % 11 == 0 else NOT_DONE, "a page")
        text = "nonsense" if seed % 5 == 0 else format_plan([step], 1)
        ids = tuple(20 + (seed >> shift) % 200 for shift in range(1 + seed % 4))
        return Response(text, ids, (-1.0,) * len(ids))


def by_score(rollout: Any) -> tuple[float, dict[str, float]]:
    """The episode's score, and a term that differs from turn to turn."""
    length = len(rollout.response.token_ids) / 10
    return rollout.outcome.score + length, {"score": rollout.outcome.score, "length": length}


def make_episodes(
    policy: Any, reference: Any, /, tasks: Sequence[str] = ("long", "short"), **changes: Any
) -> EpisodeStream:
    """A stream of two updates of two tasks, three episodes each; `changes` are its arguments, `slow` and the objective."""
    slow, lockstep = changes.pop("slow", None), changes.pop("lockstep", True)
    pages = [Pages(slow) for _ in range(changes.pop("parallel", 5))]
    policy.encoder.max_prompt_tokens = 200
    policy.objective = changes.pop("objective", Objective())
    parts = {"size": SIZE, "sampling": Sampling(max_tokens=8), "seed": 3, "credit": "plan", **changes}
    engine = parts.pop("engine", None) or PlanEngine()
    arena = Arena(pages, DirectExecutor(), Rules(max_steps=4, restarts=1), batch=4, lockstep=lockstep)
    seeded = SeededTasks(tasks, range(1000), 5)
    return EpisodeStream(seeded, arena, policy, reference, engine, by_score, **parts)
