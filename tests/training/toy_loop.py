"""The loop's surroundings in small: steps, an engine and a reward that depend on seeds alone, and streams made of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from toy_run import toy_trajectory

from tracer1.algorithms.objective import Objective
from tracer1.interfaces import Sampling
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import Reference
from tracer1.schema import Prompt, Response, Rollout, Step
from tracer1.training.experience import ExperienceStream
from tracer1.training.round_size import RoundSize

SIZE = RoundSize(prompts_per_round=4, prompts_per_update=2, group_size=3, groups_per_micro_batch=1)


class FakeSteps:
    """Endless steps, every seventh of which has a goal that is far too long."""

    def __init__(self) -> None:
        goals = ["press the button"] * 6 + ["press " * 300]
        self.steps = [toy_trajectory(f"s{i}", 1, i, goal)[0] for i, goal in enumerate(goals)]
        self.given, self.epoch = 0, 0

    def __next__(self) -> Step:
        self.given += 1
        return self.steps[(self.given - 1) % len(self.steps)]

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.given = state["given"]


class FakeEngine:
    """Answers with tokens that depend on the seed alone; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[Prompt], Sampling, Sequence[Sequence[int]]]] = []
        self.open = False

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        self.open = True
        yield
        self.open = False

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        assert self.open
        self.asked.append((prompts, sampling, seeds))
        return [self.answer(seed) for group in seeds for seed in group]

    @staticmethod
    def answer(seed: int) -> Response:
        ids = tuple(20 + (seed >> shift) % 200 for shift in range(1 + seed % 5))
        return Response(f"text {seed}", ids, (-1.0,) * len(ids), truncated=seed % 2 == 0)


def by_length(rollout: Rollout) -> tuple[float, dict[str, float]]:
    length = float(len(rollout.response.token_ids))
    return length, {"length": length, "half": length / 2}


def make_stream(policy: PolicyModule, reference: Reference | None, /, **changes: Any) -> ExperienceStream:
    """A stream of two updates of two prompts, three rollouts each; `changes` are its arguments, and the policy's objective."""
    parts = {
        "steps": FakeSteps(),
        "policy": policy,
        "reference": reference,
        "engine": FakeEngine(),
        "reward": by_length,
    }
    policy.encoder.max_prompt_tokens = 200
    policy.objective = changes.pop("objective", Objective())
    return ExperienceStream(**{**parts, "size": SIZE, "sampling": Sampling(max_tokens=8), "seed": 3, **changes})
