"""How the owners of benchmarks score one step: pure functions of the gold step and the predicted action, found by name.

A rule's name is its file's, with a dot for the folder: `android_control/os_atlas.py` is `android_control.os_atlas`. Its keyword-only
arguments are its settings. Places are 0..1000 of the screenshot, a scroll's direction is the side that is revealed, on both sides
(`actions.py`). A prediction that could not be read is None and wrong, never left out. Rules know nothing of averages, episodes,
plans or files, and load no heavy library.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tracer1.registry import Registry, bound
from tracer1.schema import Action, Box

RULES = Registry("rule", "tracer1.metrics.rules")


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a page that may be chosen (Mind2Web's candidates)."""

    name: str  # backend_node_id
    box: Box | None = None  # where it is seen; None where it is not
    positive: bool = False  # choosing it is right


@dataclass(frozen=True, slots=True)
class Gold:
    """What a rule is told of the step as the expert did it."""

    action: Action
    boxes: tuple[Box, ...] = ()  # of the target; any hit counts where the rule has boxes at all
    image_size: tuple[int, int] | None = None  # width, height in pixels, for rules that measure in pixels
    elements: tuple[Element, ...] | None = (
        None  # for rules that ask which element was chosen; None where nobody knows them
    )


@dataclass(frozen=True, slots=True)
class ActionVerdict:
    """A step of AndroidControl, GUI-Odyssey or AgentNet."""

    type_match: bool
    click_match: bool | None  # type and place agree; None where the gold step has no place
    success: bool
    score: float | None = None  # 0..1, only of rules that give part of a step's worth


@dataclass(frozen=True, slots=True)
class ElementVerdict:
    """A step of Mind2Web. All None: the owner leaves such a step out."""

    element_accuracy: bool | None
    operation_f1: float | None  # 0..1
    success: bool | None


Verdict = ActionVerdict | ElementVerdict
Rule = Callable[[Gold, Action | None], Verdict]

SKIPPED = ElementVerdict(None, None, None)


def make_rule(name: str, settings: Mapping[str, Any] | None = None, where: str = "") -> Rule:
    """The rule of that name with its settings filled in.

    Args:
        name: E.g. `android_control.os_atlas`.
        settings: E.g. `{"compat": True}`.
        where: How the settings are called in messages; the rule's name by default.

    Raises:
        UnknownName: no such rule.
        ConfigError: a setting that it does not have, or of the wrong kind.
    """
    return bound(where or f"rule {name}", RULES.get(name), settings or {})
