"""Which sandbox is taken, and what is said where there is none."""

import logging
from pathlib import Path

import pytest

from tracer1.errors import ConfigError, MissingDependency
from tracer1.sandbox import SANDBOXES, Limits, open_sandbox


def program(folder: Path, name: str, body: str) -> None:
    """A program that stands first in the search path."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of the search path."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def test_these_are_all_of_them():
    assert SANDBOXES.names() == ["bubblewrap", "docker", "http", "unsafe"]


def test_auto_is_bubblewrap_where_it_works(bubblewrap_works: None, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        sandbox = open_sandbox()
    assert sandbox.kind == "bubblewrap"
    assert "bubblewrap" in caplog.text
    sandbox.close()


def test_auto_refuses_where_nothing_is_safe_and_says_how_to_get_it(programs: Path):
    with pytest.raises(MissingDependency) as refused:
        open_sandbox()
    for word in ("apt-get install bubblewrap", "docker", "sandbox=http", "sandbox=unsafe"):
        assert word in str(refused.value)


def test_a_bubblewrap_that_may_not_make_namespaces_names_the_setting(programs: Path):
    program(programs, "bwrap", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    with pytest.raises(MissingDependency, match=r"No permissions to create new namespace.*max_user_namespaces"):
        open_sandbox("bubblewrap")


def test_auto_takes_docker_when_a_daemon_answers(programs: Path):
    program(programs, "docker", "echo '{\"runc\": {}}'")
    assert open_sandbox().kind == "docker"


def test_a_docker_without_a_daemon_is_no_sandbox(programs: Path):
    program(programs, "docker", "echo null; echo 'Cannot connect to the Docker daemon.' >&2; exit 1")
    with pytest.raises(MissingDependency, match="Cannot connect to the Docker daemon"):
        open_sandbox("docker")


def test_unsafe_is_never_chosen_and_warns_loudly(caplog: pytest.LogCaptureFixture):
    open_sandbox("unsafe")
    assert "as your user" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_a_typo_is_answered_with_the_nearest_name():
    with pytest.raises(ConfigError, match="Did you mean 'bubblewrap'"):
        open_sandbox("bublewrap")
    with pytest.raises(ConfigError, match="Did you mean 'load'"):
        open_sandbox("bubblewrap", loud=())
    with pytest.raises(ConfigError, match="belong to one kind"):
        open_sandbox("auto", Limits(), load=())
