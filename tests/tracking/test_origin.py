"""Commit and versions."""

import subprocess
from pathlib import Path

import pytest

from tracer1.tracking.origin import git_tags, version_tags


def test_commit_and_dirty_flag_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (tmp_path / "f").write_text("1")
    git("add", "f")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD").strip()
    assert git_tags(tmp_path) == {"mlflow.source.git.commit": commit, "git.dirty": "false"}
    (tmp_path / "f").write_text("2")
    assert git_tags(tmp_path)["git.dirty"] == "true"


def test_no_checkout_and_no_git_give_no_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_tags(tmp_path) == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_tags(Path(__file__).parent) == {}


def test_versions() -> None:
    assert {"version.python", "version.torch", "version.transformers"} <= version_tags().keys()
