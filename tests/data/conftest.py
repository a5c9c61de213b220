"""Shards that several tests read; nobody changes them."""

import pytest
from toy_steps import toy_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> list[str]:
    """Seven shards of two trajectories of three steps: 42 steps."""
    return toy_shards(tmp_path_factory.mktemp("toy"), 7)


@pytest.fixture(scope="session")
def other(tmp_path_factory) -> list[str]:
    """Two shards of two trajectories of five steps: 20 steps of another data set."""
    return toy_shards(tmp_path_factory.mktemp("other"), 2, dataset="other", count=5)
