"""The table of expert rules: task name -> how to solve it. It knows no rule itself: they stand in `rules_*.py`."""

import importlib
import pkgutil
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tracer1.environments._miniwob.hand import Hand, Unsolved
from tracer1.errors import UnknownName
from tracer1.registry import nearest

Solve = Callable[[Hand, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How the expert solves one task.

    Attributes:
        solve: Acts through the hand, given the instruction.
        privileged: Some choice follows from what no screenshot has shown yet; such tasks stay out of the demo.
    """

    task: str
    solve: Solve
    privileged: bool = False


_RULES: dict[str, Rule] = {}


def rule(*tasks: str, privileged: bool = False) -> Callable[[Solve], Solve]:
    """Decorator: this function solves these tasks."""

    def add(solve: Solve) -> Solve:
        for task in tasks:
            assert task not in _RULES, f"two rules for {task}"
            _RULES[task] = Rule(task, solve, privileged)
        return solve

    return add


def all_rules() -> dict[str, Rule]:
    """Every rule by task name, sorted."""
    package = importlib.import_module("tracer1.environments._miniwob")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("rules_"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_RULES.items()))


def rules_for(tasks: list[str]) -> list[Rule]:
    """The rules of these tasks; `demo` and `all` stand for many; raises UnknownName."""
    known = all_rules()
    names = [name for task in tasks for name in {"demo": DEMO, "all": tuple(known)}.get(task, (task,))]
    for name in names:
        if name not in known:
            raise UnknownName(
                f"No expert rule for task {name!r}.{nearest(name, list(known))} `--list` prints them all."
            )
    return [known[name] for name in dict.fromkeys(names)]


def quoted(text: str) -> list[str]:
    """What stands in double quotes, in order."""
    return re.findall(r'"([^"]*)"', text)


def find(pattern: str, text: str) -> str:
    """The first group of `pattern` in `text`; raises Unsolved when it is not there."""
    match = re.search(pattern, text)
    if match is None:
        raise Unsolved(f"an instruction that the rule does not know: {text!r}")
    return match.group(1)


# Tasks whose targets differ by place, shape or colour, or are told by the instruction: no small text need be read.
DEMO = (
    "click-button-sequence", "click-collapsible", "click-color", "click-shades", "click-widget", "copy-paste", "drag-box",
    "enter-password", "enter-text", "focus-text-2", "form-sequence", "form-sequence-2", "grid-coordinate", "login-user",
    "scroll-text-2", "use-spinner",
)  # fmt: skip
