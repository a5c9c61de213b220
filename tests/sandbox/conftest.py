"""Fixtures for tests that need bubblewrap. On a developer's machine they are skipped without it; in CI that is a failure."""

import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import psutil
import pytest

from tracer1.errors import MissingDependency
from tracer1.sandbox import Limits
from tracer1.sandbox.bubblewrap import Bubblewrap

SMALL = Limits(wall_s=2.0, cpu_s=2.0, memory_mb=512, processes=12, file_mb=4, folder_mb=16)


def _below(strangers: Collection[int] = ()) -> list[str]:
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.pid not in strangers:
                found.append(child.name())
        except psutil.NoSuchProcess:
            continue
    return sorted(found)


def _eventually(check: Callable[[], bool], seconds: float = 3.0) -> bool:
    """Whether `check` becomes true in time."""
    end = time.monotonic() + seconds
    while not check() and time.monotonic() < end:
        time.sleep(0.02)
    return check()


@pytest.fixture(scope="session")
def bubblewrap_works() -> None:
    """Asking for it says that a test runs code in bubblewrap."""
    try:
        Bubblewrap(load=()).close()
    except MissingDependency as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a sandbox. {missing}")
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def box(bubblewrap_works: None) -> Iterator[Bubblewrap]:
    """One sandbox for the tests of a module, without libraries: it starts in a tenth of a second."""
    sandbox = Bubblewrap(SMALL, load=())
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module", autouse=True)
def strangers() -> frozenset[int]:
    """What other tests have left running, such as an executor's sandbox; it may end at any time."""
    return frozenset(child.pid for child in psutil.Process().children(recursive=True))


@pytest.fixture
def census(strangers: frozenset[int]) -> Callable[[], list[str]]:
    """The names of this process's descendants, strangers aside: nothing started in a sandbox can leave them."""
    return lambda: _below(strangers)


@pytest.fixture
def started() -> Callable[[], list[str]]:
    """The names of the descendants started since this was asked for; what an earlier test has ended may still be dying."""
    before = frozenset(child.pid for child in psutil.Process().children(recursive=True))
    return lambda: _below(before)


@pytest.fixture
def soon() -> Callable[..., bool]:
    """Whether something becomes true within some seconds."""
    return _eventually


@pytest.fixture
def small() -> Limits:
    """The limits of `box`."""
    return SMALL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A session's working folder."""
    place = tmp_path / "work"
    place.mkdir()
    return place
