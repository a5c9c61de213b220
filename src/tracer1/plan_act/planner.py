"""Who plans for the episodes, and who executes: one engine and one executor for all threads. It knows no environment.

A planner is anything with the two methods of `Planner`. `SharedPlanner` samples the plans of all episodes that are waiting for one
in a single call of the engine.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tracer1.engines.rollout_file import rollout_seed
from tracer1.errors import DataError, EnvironmentFault
from tracer1.interfaces import Executor, RolloutEngine, Sampling
from tracer1.parsing import parse_plan
from tracer1.plan_act.together import Together
from tracer1.schema import Outcome, Plan, Prompt, Response, Rollout, Step

EXECUTED_AT_ONCE = 64  # by one call of the executor


class Planner(Protocol):
    """Makes plans for many threads."""

    def plan(self, step: Step, attempt: int) -> Rollout:
        """A rollout with a plan for `step`; whatever is wrong with it is in the plan. Called from any thread.

        Args:
            step: What is seen and has been done. `meta` says where: task, seed, sample, turn.
            attempt: 0, then 1 where that plan could not be acted upon, and so on.
        """

    def serve(self, until: threading.Event, callers: Callable[[], int] | None = None) -> None:
        """Does what `plan` waits for, in the thread of whoever runs the episodes, until `until` is set.

        Args:
            until: When to go home.
            callers: How many episodes are under way: makes it wait until all of them ask for a plan (lockstep).
        """


@dataclass(frozen=True, slots=True)
class _Asked:
    """One plan that is wanted."""

    prompt: Prompt
    seed: int
    screenshot: bytes | None  # with the tokens it says whether two prompts are the same: cheaper to compare than pixels


class SharedPlanner:
    """A policy behind an engine.

    Args:
        policy: With an `encoder`; the engine serves it.
        engine: Samples.
        sampling: How.
        seed: Of the sampling noise, with task, seed, sample, turn and attempt: a plan does not depend on what is planned beside it
            where the engine does not.
        at_most: Plans of one call of the engine.
    """

    def __init__(
        self, policy: Any, engine: RolloutEngine, sampling: Sampling, *, seed: int = 0, at_most: int = 64
    ) -> None:
        self.policy, self.engine, self.sampling, self.seed, self.at_most = policy, engine, sampling, seed, at_most
        self._encoding = threading.Lock()  # a tokenizer belongs to one thread at a time
        self._together: Together[_Asked, Response] = Together(self._generate, at_most)

    def plan(self, step: Step, attempt: int) -> Rollout:
        """See `Planner`. A prompt of too many tokens gives a plan without steps that says so.

        Raises:
            EnvironmentFault: the screenshot is no picture.
        """
        prompt = self.encode(step)
        if prompt is None:
            return Rollout(step, Response("", (), ()), Plan(error="the prompt has more tokens than max_prompt_tokens"))
        response = self._together.ask(_Asked(prompt, self.noise(step, attempt), step.screenshot))
        return Rollout(step, response, parse_plan(response.text, prompt.starts_in_think))

    def encode(self, step: Step) -> Prompt | None:
        """The prompt, or None where it has too many tokens. Raises EnvironmentFault where the screenshot is no picture."""
        try:
            with self._encoding:
                return self.policy.encoder.encode(step)
        except DataError as error:
            raise EnvironmentFault(f"{step.key}: {error}") from error

    def noise(self, step: Step, attempt: int) -> int:
        """The seed of a response's sampling noise."""
        return rollout_seed(
            self.seed, "act", *(step.meta[name] for name in ("task", "seed", "sample", "turn")), attempt
        )

    def serve(self, until: threading.Event, callers: Callable[[], int] | None = None) -> None:
        """See `Planner`: the engine works in this thread."""
        with self.engine.serving(self.policy):
            self._together.serve(until, callers)

    def _generate(self, asked: Sequence[_Asked]) -> list[Response]:
        """In an order that does not depend on which thread was quicker; a prompt that several episodes share is encoded once."""
        order = sorted(range(len(asked)), key=lambda i: (asked[i].prompt.key, asked[i].seed))
        same: dict[tuple[Any, ...], list[int]] = {}
        for i in order:
            same.setdefault((asked[i].prompt.token_ids, asked[i].screenshot), []).append(i)
        responses: list[Response | None] = [None] * len(asked)
        for batch in _batches(list(same.values()), self.at_most):
            seeds = [[asked[i].seed for i in group] for group in batch]
            answers = self.engine.generate([asked[group[0]].prompt for group in batch], self.sampling, seeds)
            for i, response in zip((i for group in batch for i in group), answers, strict=True):
                responses[i] = response
        return responses


def _batches(groups: Sequence[list[int]], at_most: int) -> Iterator[list[list[int]]]:
    """Groups of one size each, as engines want them, of at most so many members together."""
    cut = [group[start : start + at_most] for group in groups for start in range(0, len(group), at_most)]
    for size in sorted({len(group) for group in cut}, reverse=True):
        alike = [group for group in cut if len(group) == size]
        step = max(1, at_most // size)
        yield from (alike[start : start + step] for start in range(0, len(alike), step))


def load_planner(
    model: Mapping[str, Any], engine: RolloutEngine, sampling: Sampling, *, seed: int, at_most: int
) -> SharedPlanner:
    """The planner of a model group, on a GPU where there is one.

    Raises:
        ConfigError: no model there.
    """
    import torch

    from tracer1.models.options import ModelOptions
    from tracer1.models.policy import PolicyModule

    policy = PolicyModule(model["path"], prompt=dict(model["prompt"]), optimizer=None, options=ModelOptions.of(model))
    policy.to("cuda" if torch.cuda.is_available() else "cpu")
    return SharedPlanner(policy, engine, sampling, seed=seed, at_most=at_most)


class SharedExecutor:
    """One executor for all threads; it works in a thread of its own, beside the planner."""

    def __init__(self, executor: Executor) -> None:
        self._together: Together[Rollout, Outcome] = Together(executor.execute, EXECUTED_AT_ONCE)

    def execute(self, rollout: Rollout) -> Outcome:
        """The outcome of one rollout. Raises what the executor raised."""
        return self._together.ask(rollout)

    def serve(self, until: threading.Event) -> None:
        """Executes until `until` is set."""
        self._together.serve(until)
