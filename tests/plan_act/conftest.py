"""Fixtures for tests that need a browser: skipped without one on a developer's machine, a failure in CI."""

import os
from pathlib import Path

import pytest

from tracer1.errors import MissingDependency


@pytest.fixture(scope="session")
def browser_installed() -> Path:
    """The folder of the task pages; asking for it says that a test starts a browser."""
    from tracer1.environments._miniwob.browser import binary, html_folder, playwright_api

    try:
        binary()
        playwright_api()
        return html_folder()
    except MissingDependency as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a browser. {missing}")
        pytest.skip(str(missing))
