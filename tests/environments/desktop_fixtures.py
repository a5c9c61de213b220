"""What the tests of `desktop` share: whether it can run here, and acting as an agent does that waits until the screen rests."""

import os

import pytest

from tracer1.environments._desktop.tasks import need
from tracer1.environments.desktop import Desktop
from tracer1.errors import MissingDependency
from tracer1.interfaces import Observation
from tracer1.schema import Action

WAIT = Action("wait")
SMALL = {"width": 800, "height": 600, "pause_s": 0.1}  # what is quickly looked at; `act` waits as long as it takes


def or_skip() -> None:
    """Skips without OSWorld's package or the programs that every desktop needs; in CI that is a failure."""
    try:
        need()
    except MissingDependency as missing:
        skip(str(missing))


def skip(reason: str) -> None:
    """Skips; in CI, which has everything, fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have a desktop. {reason}")
    pytest.skip(reason)


def act(environment: Desktop, *actions: Action) -> Observation:
    """Acts, and after each action waits (at most ten times) until two screenshots are the same."""
    seen = None
    for action in actions:
        seen, ended = environment.step(action)
        for _ in range(0 if ended else 10):
            before = seen
            seen, _ = environment.step(WAIT)
            if seen == before:
                break
    return seen
