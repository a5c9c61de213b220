"""Fixtures for tests that need a browser. On a developer's machine they are skipped without one; in CI that is a failure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer1.environments import ENVIRONMENTS


@pytest.fixture(scope="module")
def miniwob(browser_installed: Path) -> Iterator:
    """One environment for the tests of a module: starting a browser takes a second."""
    environment = ENVIRONMENTS.get("miniwob")()
    yield environment
    environment.close()


@pytest.fixture
def several(browser_installed) -> Iterator[list]:
    """Three environments, each with an episode under way."""
    made = [ENVIRONMENTS.get("miniwob")() for _ in range(3)]
    try:
        for one in made:
            one.reset("click-test", 0)
        yield made
    finally:
        for one in made:
            one.close()
