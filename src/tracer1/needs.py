"""What a step must have so that something can judge it: a screenshot, a place, a box, an outcome. It knows no reward and no data set.

Sources lack things (a screenshot, where the target was). Such a step still teaches what comes when, and stays in the history and
the future of its neighbours; but a reward that compares places would score every answer to it 0.
"""

from collections.abc import Iterable, Mapping

from tracer1.actions import PLACE_TYPES, canonical_type
from tracer1.errors import ConfigError
from tracer1.registry import nearest
from tracer1.schema import Step

# A tool's step has no screen and so lacks no place, and a GUI's step no outcome: its action is compared itself.
# Nor does an action that happens nowhere (type, hotkey, wait ...) lack a place.
NEEDS = {
    "screenshot": "a screenshot",
    "place": "the place of its action: a point or a box, and the end of a drag",
    "box": "a box around its action's target",
    "outcome": "a recorded outcome of its tool call that an answer could be compared with",
    "episode": "an episode that is played (recipe=online); recorded steps have none",
}

SAID_NOTHING = "No observation found"  # how T3's agent reports a block that printed nothing (tools, section 1)


def checked_needs(names: Iterable[str], where: str) -> tuple[str, ...]:
    """The names in the order of `NEEDS`, each once.

    Args:
        names: Some of `NEEDS`.
        where: What gives them, for the message.

    Raises:
        ConfigError: A name that is not one of them.
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in NEEDS:
            raise ConfigError(f"{where} names {name!r}.{nearest(str(name), list(NEEDS))} Known: {', '.join(NEEDS)}.")
    return tuple(name for name in NEEDS if name in names)


def lacking(step: Step, needs: Iterable[str]) -> str | None:
    """The first of `needs` that the step lacks, None where it has them all."""
    if "episode" in needs:
        return "episode"
    if step.platform == "tool":
        return "outcome" if "outcome" in needs and not _has_outcome(step) else None
    action = step.future[0].action
    kind = None if action is None else canonical_type(action.action_type)
    somewhere = kind in PLACE_TYPES
    placed = action is not None and (bool(step.boxes) or action.point is not None)
    has = {
        # of several actions recorded on one screenshot, only the first was made on what it shows
        "screenshot": step.screenshot is not None and step.meta.get("real_observation", True),
        "place": not somewhere or (placed and (kind != "drag" or action.end_point is not None)),
        "box": not somewhere or bool(step.boxes),
        "outcome": True,
    }
    return next((name for name in needs if not has[name]), None)


def _has_outcome(step: Step) -> bool:
    """Whether the expert's call answered the task, or ran through and left something to compare with."""
    action, outcome = step.future[0].action, step.meta.get("outcome") or {}
    if action is not None and action.content is not None:
        return bool(action.content.strip())
    text = str(outcome.get("text") or "").strip()
    return not outcome.get("failed") and bool(text) and not text.startswith(SAID_NOTHING)


def left_out_text(counts: Mapping[str, int]) -> str:
    """`12 without a screenshot, 3 without the place of its action: ...`, for messages."""
    return "; ".join(f"{counts[name]:,} without {text}" for name, text in NEEDS.items() if counts.get(name))
