"""Where a run's code comes from: git commit, dirty flag and library versions, as tags. It knows nothing about MLflow's API."""

import getpass
import importlib.metadata
import platform
import subprocess
from pathlib import Path

LIBRARIES = ("tracer1", "torch", "transformers", "lightning")
GIT_TIMEOUT_S = 5.0


def git_tags(folder: Path) -> dict[str, str]:
    """The commit of the checkout `folder` lies in, and whether tracked files were changed; empty where there is none."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    dirty = {} if changed is None else {"git.dirty": str(bool(changed)).lower()}
    return {"mlflow.source.git.commit": commit, **dirty}  # this key is the one that MLflow's pages show


def version_tags() -> dict[str, str]:
    """The versions of Python and of the libraries that decide what a run computes."""
    tags = {"version.python": platform.python_version()}
    for library in LIBRARIES:
        try:
            tags[f"version.{library}"] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue  # run from a source tree
    return tags


def who_tags() -> dict[str, str]:
    """Who runs it and where, under the names that MLflow's pages show."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without such a user
        user = ""
    return {"mlflow.user": user, "mlflow.source.name": f"train.py on {platform.node()}", "mlflow.source.type": "LOCAL"}


def own_version() -> str:
    """tracer1's; `unknown` where it runs from a source tree."""
    return version_tags().get("version.tracer1", "unknown")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where git is missing, slow, or `folder` is not in a checkout."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
