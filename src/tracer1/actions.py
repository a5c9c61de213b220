"""The one action space for GUI and tools: names, arguments, aliases, coordinate spaces, matching. It knows no model and no data set.

The table below is read by the parser, the prompt and the matcher alike, so they cannot drift apart.
Conventions (GUI data, sections A.6 and D.2): points are 0..1000 of the screenshot; a scroll's direction is the side whose
content is revealed; a swipe is a finger's path, so its direction is the opposite.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from tracer1.schema import Action, Box, Point

DIRECTIONS = ("up", "down", "left", "right")
OPPOSITE = {"up": "down", "down": "up", "left": "right", "right": "left"}
DEFAULT_DISTANCE = 140.0  # 14 % of the screen in 0..1000 space: OS-Atlas's click rule (GUI data, section B.1)


@dataclass(frozen=True, slots=True)
class ActionType:
    """One row of the action table."""

    meaning: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ("desktop", "mobile", "web")


ACTION_TYPES: dict[str, ActionType] = {
    "click": ActionType("press the left button (tap) at a place", ("point",)),
    "left_double": ActionType("double-click at a place", ("point",)),
    "right_single": ActionType("press the right button at a place", ("point",)),
    "long_press": ActionType("touch a place and hold", ("point",), platforms=("mobile",)),
    "hover": ActionType("move the pointer to a place", ("point",), platforms=("desktop", "web")),
    "drag": ActionType(
        "press at one place, release at another", ("point", "end_point"), platforms=("desktop", "mobile", "web")
    ),
    "scroll": ActionType(
        "show more content on the side `direction`: up, down, left or right", ("direction",), ("point",)
    ),
    "type": ActionType("type text; a trailing newline submits", ("content",), ("point",)),
    "select": ActionType("open a list or pick an option", ("point",), ("content",), ("web",)),
    "hotkey": ActionType('press keys together, e.g. "ctrl c"', ("key",), platforms=("desktop", "web")),
    "open_app": ActionType("open an app by name", ("app_name",), platforms=("mobile",)),
    "press_home": ActionType("go to the home screen", platforms=("mobile",)),
    "press_back": ActionType("go back", platforms=("mobile",)),
    "press_recent": ActionType("show the recent apps", platforms=("mobile",)),
    "goto": ActionType("open a URL", ("content",), platforms=("web",)),
    "wait": ActionType("wait for the screen to change"),
    "finished": ActionType("the task is done", (), ("content",)),
    "call_user": ActionType("the task cannot be done, or a person is needed", (), ("content",)),
    "final_answer": ActionType("answer the task", ("content",), platforms=("tool",)),
}

PLACE_TYPES = frozenset({"click", "left_double", "right_single", "long_press", "hover", "drag", "select"})
ENDINGS = frozenset({"finished", "call_user"})  # their content is a farewell or a reason, not an argument

ALIASES: dict[str, str] = {
    **dict.fromkeys(("tap", "left_click", "left_single"), "click"),
    **dict.fromkeys(("double_click", "doubleclick"), "left_double"),
    **dict.fromkeys(("right_click", "rightclick"), "right_single"),
    **dict.fromkeys(("input_text", "write", "fill", "text"), "type"),
    **dict.fromkeys(("press", "key"), "hotkey"),
    **dict.fromkeys(("navigate_back", "back"), "press_back"),
    **dict.fromkeys(("navigate_home", "home"), "press_home"),
    **dict.fromkeys(("terminate", "complete"), "finished"),
    **dict.fromkeys(("impossible", "incomplete"), "call_user"),
    "open": "open_app",
    "swipe": "scroll",  # and its direction is inverted, see `action_from_wire`
}

_ARGUMENT_ALIASES = {"end": "end_point", "start": "point", "text": "content", "app": "app_name"}
_TEXT_FIELDS = ("content", "key", "direction", "app_name", "code")
WIRE_FIELDS = tuple(field.name for field in fields(Action))


def canonical_type(action_type: str) -> str:
    """The table's name for an action type: trimmed, lower-cased, aliases resolved; a tool's name comes back lower-cased."""
    name = action_type.strip().lower()
    return ALIASES.get(name, name)


def _read_point(value: Any) -> Point:
    """[x, y] of numbers, or of strings that hold numbers; raises ValueError otherwise."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"a point is [x, y], got {value!r:.60}")
    if not all(isinstance(v, (int, float, str)) and not isinstance(v, bool) for v in value):
        raise ValueError(f"a point is two numbers, got {value!r:.60}")
    x, y = (float(v) for v in value)
    if not (0 <= x <= 1000 and 0 <= y <= 1000):  # also refuses NaN
        raise ValueError(f"a point lies within 0..1000, got {value!r:.60}")
    return x, y


def action_from_wire(wire: Mapping[str, Any]) -> Action:
    """The `action` object of a plan step -> Action, aliases resolved.

    Raises:
        ValueError: no `action_type`, or an argument of the wrong kind. A missing argument is not an error here: see `missing_arguments`.
    """
    raw_type = wire.get("action_type")
    if not isinstance(raw_type, str) or not raw_type.strip():
        raise ValueError("an action needs a string `action_type`")
    given = {_ARGUMENT_ALIASES.get(name, name): value for name, value in wire.items() if value is not None}
    values: dict[str, Any] = {"action_type": canonical_type(raw_type)}
    values["step_instruction"] = given["step_instruction"] if isinstance(given.get("step_instruction"), str) else ""
    for name in ("point", "end_point"):
        if name in given:
            values[name] = _read_point(given[name])
    for name in _TEXT_FIELDS:
        if name in given:
            if not isinstance(given[name], (str, int, float)):
                raise ValueError(f"`{name}` is text, got {given[name]!r:.60}")
            values[name] = str(given[name])
    if isinstance(given.get("arguments"), Mapping):
        values["arguments"] = dict(given["arguments"])
    return _normalised(Action(**values), raw_type)


def _normalised(action: Action, raw_type: str) -> Action:
    """Lower-cases keys and directions, and turns a finger's path into the revealed side."""
    if action.key is not None:
        action = replace(action, key=" ".join(action.key.lower().replace("+", " ").split()))
    if action.direction is not None:
        direction = action.direction.strip().lower()
        if raw_type.strip().lower() == "swipe":
            direction = OPPOSITE.get(direction, direction)
        if direction not in DIRECTIONS:
            raise ValueError(f"a direction is one of {', '.join(DIRECTIONS)}, got {action.direction!r:.40}")
        action = replace(action, direction=direction)
    return action


def action_to_wire(action: Action) -> dict[str, Any]:
    """Action -> the `action` object of a plan step: fields that are set, points as whole numbers 0..1000."""
    wire: dict[str, Any] = {}
    for name in WIRE_FIELDS:
        value = getattr(action, name)
        if value is None or (name == "step_instruction" and not value):
            continue
        wire[name] = [round(v) for v in value] if name in ("point", "end_point") else value
    return wire


def missing_arguments(action: Action) -> tuple[str, ...]:
    """The required arguments that the action lacks; () for a tool call, whose schema is the toolbox's."""
    row = ACTION_TYPES.get(action.action_type)
    return tuple(name for name in row.required if getattr(action, name) is None) if row else ()


def describe(platform: str) -> str:
    """The action list of the prompt, one line per type of that platform, generated from the table."""
    rows = ((name, row) for name, row in ACTION_TYPES.items() if platform in row.platforms)
    return "\n".join(
        f"- {name}({', '.join([*row.required, *(f'{o}?' for o in row.optional)])}): {row.meaning}" for name, row in rows
    )


def type_names(platform: str) -> tuple[str, ...]:
    """The action types of one platform, in the table's order."""
    return tuple(name for name, row in ACTION_TYPES.items() if platform in row.platforms)


# --- coordinate spaces -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CoordinateSpace:
    """What one unit of a model's or data set's coordinates is; converts to and from 0..1000 of the screenshot.

    Args:
        width: The number that stands for the right edge: 1000 (relative), 1 (unit), or a width in pixels.
        height: Likewise for the lower edge.
    """

    width: float
    height: float

    def to_thousand(self, point: Point) -> Point:
        """A point in this space -> 0..1000 of the screenshot (not clipped)."""
        return point[0] / self.width * 1000, point[1] / self.height * 1000

    def from_thousand(self, point: Point) -> Point:
        """0..1000 of the screenshot -> a point in this space."""
        return point[0] / 1000 * self.width, point[1] / 1000 * self.height


RELATIVE_1000 = CoordinateSpace(1000, 1000)  # Qwen3-VL, UI-TARS-7B
UNIT = CoordinateSpace(1, 1)  # AgentNet


def pixels(width: int, height: int) -> CoordinateSpace:
    """Absolute pixels of a screenshot of that size."""
    return CoordinateSpace(width, height)


def smart_resized(width: int, height: int, factor: int, min_pixels: int, max_pixels: int) -> CoordinateSpace:
    """Pixels of the image a Qwen-VL processor makes of a width x height screenshot (UI-TARS-1.5, Qwen2.5-VL: factor 28).

    Both sides become multiples of `factor`, and the area is brought between the limits at (nearly) the same aspect ratio.

    Raises:
        ValueError: a side ratio above 200, which those processors refuse.
    """
    if max(width, height) / min(width, height) > 200:
        raise ValueError(f"the sides' ratio must be at most 200, got {width} x {height}")
    new_w, new_h = round(width / factor) * factor, round(height / factor) * factor
    if new_w * new_h > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        new_w = max(factor, math.floor(width / shrink / factor) * factor)
        new_h = max(factor, math.floor(height / shrink / factor) * factor)
    elif new_w * new_h < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        new_w, new_h = math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor
    return CoordinateSpace(new_w, new_h)


# --- scrolling and matching --------------------------------------------------------------------------------------------


def direction_of_path(start: Point, end: Point) -> str:
    """The side a finger's path reveals: the opposite of its main axis; a tie is vertical.

    Raises:
        ValueError: a path of no length.
    """
    dx, dy = end[0] - start[0], end[1] - start[1]
    if dx == 0 and dy == 0:
        raise ValueError("a scroll of zero length has no direction")
    if abs(dx) > abs(dy):
        return "left" if dx > 0 else "right"
    return "up" if dy > 0 else "down"


def in_box(point: Point, box: Box) -> bool:
    """Whether the point lies in the box, its edges included."""
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def place_matches(
    point: Point | None, target: Point | None, boxes: Sequence[Box], distance: float = DEFAULT_DISTANCE
) -> bool:
    """In any of the boxes; where there is none, within `distance` (0..1000 units) of the target point."""
    if point is None:
        return False
    if boxes:
        return any(in_box(point, box) for box in boxes)
    return target is not None and math.dist(point, target) <= distance


def _same_text(predicted: str | None, reference: str | None) -> bool:
    return " ".join((predicted or "").split()) == " ".join((reference or "").split())


def matches(
    predicted: Action, reference: Action, boxes: Sequence[Box] = (), distance: float = DEFAULT_DISTANCE
) -> bool:
    """Whether an executed action does what the expert's did: the type, its place (method, section 3) and its arguments.

    Text and app names must be equal but for white space, keys as sets. Only arguments of the type's row count; the place of a
    scroll and the words of `finished` and `call_user` do not. A tool call matches by name and `arguments`, never by its code.
    """
    kind = canonical_type(reference.action_type)
    if canonical_type(predicted.action_type) != kind:
        return False
    row = ACTION_TYPES.get(kind)
    if row is None:
        return dict(predicted.arguments or {}) == dict(reference.arguments or {})
    if kind in PLACE_TYPES and not place_matches(predicted.point, reference.point, boxes, distance):
        return False
    if kind == "drag" and not place_matches(predicted.end_point, reference.end_point, (), distance):
        return False
    if kind == "hotkey":
        return set((predicted.key or "").split()) == set((reference.key or "").split())
    if kind in ENDINGS:
        return True
    return all(
        _same_text(getattr(predicted, name), getattr(reference, name))
        for name in ("content", "direction", "app_name")
        if name in row.required + row.optional
    )
