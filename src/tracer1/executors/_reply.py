"""What a frozen model's reply says: a thought and actions in 0..1000 of the screenshot. It knows no model's syntax and no server."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tracer1.actions import (
    ACTION_TYPES,
    CoordinateSpace,
    action_from_wire,
    canonical_type,
    direction_of_path,
    missing_arguments,
)
from tracer1.schema import Action, Point

UNREADABLE, UNKNOWN_ACTION, BAD_ARGUMENTS = "unreadable", "unknown_action", "bad_arguments"
_KEYS = {f"arrow{way}": way for way in ("up", "down", "left", "right")}


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that was read. The first action counts."""

    thought: str = ""
    actions: tuple[Action, ...] = ()  # in order, up to the first that makes no sense
    error: str = ""  # what is wrong: with the text, or with the action after the last of `actions`
    kind: str = ""  # of the error: unreadable (no call at all) | unknown_action | bad_arguments


class BadCall(ValueError):
    """A call that is none of the model's actions, or lacks what it needs.

    Args:
        kind: See Reply.
        message: What is wrong.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


Parse = Callable[[str, CoordinateSpace], Reply]  # never raises, takes time in proportion to the text


def read_actions(thought: str, calls: Iterable[Any], read: Callable[[Any], Action]) -> Reply:
    """The reply that consists of `calls`; its actions end before the first that `read` raises BadCall for."""
    actions: list[Action] = []
    try:
        for call in calls:
            actions.append(read(call))
    except BadCall as error:
        return Reply(thought, tuple(actions), str(error), error.kind)
    if not actions:
        return Reply(thought, error="no action in the reply", kind=UNREADABLE)
    return Reply(thought, tuple(actions))


def make_action(name: str, fields: Mapping[str, Any], space: CoordinateSpace) -> Action:
    """A complete action of the GUI action space.

    Args:
        name: The action as the model calls it; known aliases are resolved.
        fields: Of the action, places as two numbers in `space`; those that are None do not count.
        space: The model's coordinates of this screenshot.

    Raises:
        BadCall: no such action, a place outside of the screenshot, or an argument that is missing or of the wrong kind.
    """
    kind = canonical_type(name)
    if kind not in ACTION_TYPES or ACTION_TYPES[kind].platforms == ("tool",):
        raise BadCall(UNKNOWN_ACTION, f"no action {name!r:.60}")
    wire = {"action_type": kind, **{key: value for key, value in fields.items() if value is not None}}
    path = [wire[place] for place in ("point", "end_point") if place in wire]
    try:
        if kind == "scroll" and len(path) == 2:  # a finger's path
            wire = {"action_type": kind, "point": path[0], "direction": direction_of_path(*path)} | (
                {"direction": wire["direction"]} if "direction" in wire else {}
            )
        for place in ("point", "end_point"):
            if place in wire:
                wire[place] = _inside(wire[place], space)
        if "key" in wire:
            wire["key"] = " ".join(_KEYS.get(key, key) for key in str(wire["key"]).lower().replace("+", " ").split())
        action = action_from_wire(wire)
    except ValueError as error:
        raise BadCall(BAD_ARGUMENTS, f"{name}: {error}") from None
    lacking = missing_arguments(action)
    if lacking:
        raise BadCall(BAD_ARGUMENTS, f"{name} lacks {', '.join(lacking)}")
    return action


def _inside(place: Point, space: CoordinateSpace) -> tuple[float, float]:
    """In 0..1000."""
    x, y = space.to_thousand(place)
    if not (0 <= x <= 1000 and 0 <= y <= 1000):
        raise ValueError(f"({place[0]:g}, {place[1]:g}) lies outside of the screenshot")
    return x, y


def to_place(numbers: Iterable[float]) -> Point:
    """Two numbers as they are, four as the middle of their box.

    Raises:
        BadCall: any other count, or numbers that are not finite.
    """
    values = tuple(numbers)
    if len(values) == 4:
        values = ((values[0] + values[2]) / 2, (values[1] + values[3]) / 2)
    if len(values) != 2 or not all(map(math.isfinite, values)):
        raise BadCall(BAD_ARGUMENTS, f"a place is two or four numbers, got {len(values)}")
    return values[0], values[1]
