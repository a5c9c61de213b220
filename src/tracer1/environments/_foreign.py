"""What the adapters of other people's benchmarks share: their code is imported late, and which revision it is goes into the report.

It knows no benchmark.
"""

import importlib
import io
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from tracer1.errors import ConfigError, EnvironmentFault, MissingDependency
from tracer1.interfaces import Observation
from tracer1.schema import Action, PlanStep, Rollout


class ImpossibleAction(Exception):
    """The environment has no such action, key or character: nothing is done."""


def refused(task: str, reason: str) -> ConfigError:
    """What `reset` raises of a task that `refuses` gives a reason for."""
    return ConfigError(f"The task {task!r} is refused, not scored 0: {reason}. Give it what it lacks, or leave it out.")


class Plans(Protocol):
    """What our agent in somebody else's runner asks: anything that makes a rollout of what is seen and has been done."""

    def plan(self, instruction: str, observation: Observation, history: Sequence[PlanStep]) -> Rollout:
        """A rollout with a plan; with an outcome where an executor made the plan's first step an action.

        Args:
            instruction: The task, as its owner words it.
            observation: What is seen now.
            history: The steps done so far in this episode, oldest first.
        """


def foreign(module: str, checkout: Path | None, how: str) -> Any:
    """A module of the benchmark's own code.

    Args:
        module: Its dotted name.
        checkout: The user's clone, which goes first on `sys.path`; None: as it is installed.
        how: How to install it, for the message.

    Raises:
        ConfigError: the checkout is no folder, or does not hold the module's package.
        MissingDependency: the module, or something that it imports itself, is not installed.
    """
    package = module.split(".")[0]
    if checkout is not None:
        if not (checkout / package).is_dir():
            raise ConfigError(
                f"checkout: {checkout} has no folder {package!r}; it must be the root of the clone. {how}"
            )
        if str(checkout) not in sys.path:
            sys.path.insert(0, str(checkout))
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        lacking = error.name or str(error)
        ours = lacking.split(".")[0] == package
        whose = (
            f"{package!r} is not installed, or not whole" if ours else f"{module} needs {lacking!r}, which is absent"
        )
        raise MissingDependency(f"{whose} ({error}). {how}") from error
    at = Path(found.__file__ or "").resolve()
    if checkout is not None and not at.is_relative_to(checkout):
        raise ConfigError(
            f"checkout: {module} is already loaded from {at}, not from {checkout}; use one of them per process."
        )
    return found


def folder(setting: str, value: str | None) -> Path | None:
    """A setting that names a folder; None where it is not set. Raises ConfigError where there is none."""
    if not value:
        return None
    path = Path(value).expanduser().resolve()
    if not path.is_dir():
        raise ConfigError(f"{setting}: {path} is not a folder.")
    return path


def revision(checkout: Path | None, distribution: str) -> str:
    """The checkout's commit, with `+changes` where tracked files differ from it; else the installed version.

    Args:
        checkout: A folder of a Git repository, or None.
        distribution: The name on PyPI, where it has one.
    """
    if checkout is not None:
        commit = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
        return commit + ("+changes" if changed else "") if commit else "unknown (no Git repository)"
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return "unknown"


def _git(checkout: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", checkout, *words], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def picture_size(screenshot: bytes | None) -> tuple[int, int]:
    """Width and height in pixels of a PNG or JPEG. Raises EnvironmentFault for anything else."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(screenshot or b"")) as image:
            return image.size
    except (UnidentifiedImageError, OSError) as error:
        raise EnvironmentFault("The machine gave no screenshot: it is gone or hangs; its log says more.") from error


def acted(rollout: Rollout) -> Action | None:
    """What the rollout does now: the executor's action, else the plan's first; None where neither can be read.

    Raises:
        EnvironmentFault: the executor's infrastructure failed, so nobody knows what it would have done.
    """
    if rollout.outcome is not None:
        if rollout.outcome.fault:
            raise EnvironmentFault(f"The executor failed: {rollout.outcome.fault}")
        return rollout.outcome.action
    first = rollout.plan.steps[0] if rollout.plan.steps else None
    return first.action if first is not None and first.readable else None


def as_history(rollout: Rollout, action: Action, number: int) -> PlanStep:
    """The step that was done, as the planner is told of it next time.

    Args:
        rollout: Its plan says what the screen showed.
        action: What was done.
        number: 1-based within the episode.
    """
    planned = rollout.plan.steps[0] if rollout.plan.steps else None
    seen = planned.screenshot_abstraction if planned is not None else ""
    return PlanStep(action, screenshot_abstraction=seen or "", number=number)
