"""Rollouts by hand, for the tests of rewards."""

from collections.abc import Callable, Sequence

import pytest

from tracer1.schema import DONE, NOT_DONE, Action, Outcome, Plan, PlanStep, Response, Rollout, Step


def to_steps(actions: Sequence[str | Action], done: bool) -> tuple[PlanStep, ...]:
    """Valid steps of these types or actions; the last one is `done` if asked."""
    last = len(actions) - 1
    return tuple(
        PlanStep(
            Action(action, "do it") if isinstance(action, str) else action,
            DONE if done and i == last else NOT_DONE,
            "a page",
            i + 1,
        )
        for i, action in enumerate(actions)
    )


@pytest.fixture
def make_rollout() -> Callable[..., Rollout]:
    """`make_rollout(predicted, reference, done=..., outcome=..., boxes=...)`; types may be a string of words."""

    def make(
        predicted, reference="wait", *, done: bool = True, outcome: Outcome | None = None, boxes=(), key="toy-a-000"
    ) -> Rollout:
        predicted = predicted.split() if isinstance(predicted, str) else predicted
        reference = reference.split() if isinstance(reference, str) else reference
        step = Step(key, "toy", "a", 0, "do it", None, (), to_steps(reference, True), boxes=tuple(boxes))
        return Rollout(step, Response("", (), ()), Plan(to_steps(predicted, done), framed=True), outcome)

    return make
