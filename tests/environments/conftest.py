"""Fixtures for tests that need a browser. On a developer's machine they are skipped without one; in CI that is a failure."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._miniwob.browser import binary, html_folder, playwright_api
from tracer1.errors import MissingDependency


@pytest.fixture(scope="session")
def browser_installed() -> Path:
    """The folder of the task pages; asking for it says that a test starts a browser."""
    try:
        binary()
        playwright_api()
        return html_folder()
    except MissingDependency as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a browser. {missing}")
        pytest.skip(str(missing))


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
