"""What the tests of `desktop` share: whether it can run here, and acting as an agent does that waits until the screen rests."""

import importlib.util
import os

import pytest

from tracer1.environments._desktop.tasks import need
from tracer1.environments.desktop import Desktop
from tracer1.errors import MissingDependency
from tracer1.interfaces import Observation
from tracer1.schema import Action

WAIT = Action("wait")


def or_skip() -> None:
    """Skips without OSWorld's package, which is in no extra that CI installs; with it, CI must have the programs too."""
    try:
        need()
    except MissingDependency as missing:
        if os.environ.get("CI") == "true" and importlib.util.find_spec("desktop_env"):
            pytest.fail(f"CI must have a desktop. {missing}")
        pytest.skip(str(missing))


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
