"""Scores recorded actions under a benchmark's rule: JSON lines in, verdicts out. The logic of `tools/score_actions.py`.

It is strict about the gold action, which is the user's, and lenient about the predicted one, which is a model's: what cannot be read
there is wrong, not an error. It knows nothing of plans, steps or episodes.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tracer1.actions import DIRECTIONS, OPPOSITE, canonical_type
from tracer1.errors import DataError
from tracer1.json_lines import check_present, read_object
from tracer1.metrics.rules import Element, Gold, Rule
from tracer1.schema import Action, Box

_TOP = ("gold", "predicted")


def score_action_lines(lines: Iterable[bytes], rule: Rule, source: str = "-") -> Iterator[dict[str, Any]]:
    """One verdict per line, in order; blank lines are skipped.

    Args:
        lines: UTF-8 JSON objects `{"gold": {...}, "predicted": {...} or null}`, see `read_line`.
        rule: From `make_rule`.
        source: What the lines came from, for messages.

    Yields:
        The fields of the rule's verdict; `score` only where the rule gives one.

    Raises:
        DataError: a line that cannot be read, with its number.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            gold, predicted = read_line(line, f"{source}:{number}")
            verdict = asdict(rule(gold, predicted))
            yield {name: value for name, value in verdict.items() if name != "score" or value is not None}


def read_line(line: bytes, where: str) -> tuple[Gold, Action | None]:
    """One JSON line -> the gold step and the predicted action, None where that cannot be read.

    Args:
        line: `gold` is an action, its `box` where the target is (`boxes`: several), and `image_size` [width, height] in pixels and
            `elements` [{name, box, positive}] for the rules that ask for them.
        where: How messages call the line.

    Raises:
        DataError: not a JSON object, no gold action, or one that cannot be read.
    """
    fields = read_object(line, where, "`gold` and `predicted`")
    check_present(fields, _TOP, "is {gold: {…}, predicted: {…} or null}", where)
    if fields["predicted"] is not None and not isinstance(fields["predicted"], dict):
        raise DataError(f"{where}: `predicted` is an action or null, got {fields['predicted']!r:.60}.")
    try:
        gold = _read_gold(fields["gold"])
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: `gold`: {error}.") from None
    try:
        predicted = None if fields["predicted"] is None else _read_action(fields["predicted"], lenient=True)
    except ValueError:
        predicted = None
    return gold, predicted


def action_to_line(action: Action | None) -> dict[str, Any] | None:
    """An action as `read_line` takes it, places to the last digit; None for one that could not be read."""
    if action is None:
        return None
    fields = {name: value for name, value in asdict(action).items() if value is not None and value != ""}
    element = (action.arguments or {}).get("element")
    return fields | ({} if element is None else {"element": element})


def gold_to_line(gold: Gold) -> dict[str, Any]:
    """A gold step as `read_line` takes it."""
    fields: dict[str, Any] = {"boxes": gold.boxes, "image_size": gold.image_size}
    if gold.elements is not None:
        fields["elements"] = [asdict(element) for element in gold.elements]
    return {**(action_to_line(gold.action) or {}), **fields}


def _read_gold(wire: Any) -> Gold:
    if not isinstance(wire, dict):
        raise ValueError(f"an action is needed, got {wire!r:.60}")
    boxes = [wire["box"]] if wire.get("box") else list(wire.get("boxes") or ())
    size = wire.get("image_size")
    elements = wire.get("elements")
    return Gold(
        _read_action(wire),
        tuple(_numbers(box, 4, "a box") for box in boxes),
        None if size is None else _numbers(size, 2, "image_size"),
        None if elements is None else tuple(map(_read_element, elements)),
    )


def _read_element(wire: Any) -> Element:
    if not isinstance(wire, dict) or "name" not in wire:
        raise ValueError(f"an element is an object with `name`, got {wire!r:.60}")
    box: Box | None = _numbers(wire["box"], 4, "a box") if wire.get("box") else None
    return Element(str(wire["name"]), box, bool(wire.get("positive")))


def _read_action(wire: Mapping[str, Any], lenient: bool = False) -> Action:
    """The action of a line. Fields that say nothing are left out; with `lenient` also those that cannot be read.

    Raises:
        ValueError: no type; without `lenient` also a place, text or direction that is none.
    """
    raw_type = wire.get("action_type")
    if not isinstance(raw_type, str) or not raw_type.strip():
        raise ValueError("an action needs a string `action_type`")
    values: dict[str, Any] = {}
    for name, read in _READERS.items():
        if wire.get(name) is None:
            continue
        try:
            values[name] = read(wire[name])
        except (ValueError, TypeError) as error:
            if not lenient:
                raise ValueError(f"`{name}`: {error}") from None
    if raw_type.strip().lower() == "swipe" and "direction" in values:  # a finger's path reveals the opposite side
        values["direction"] = OPPOSITE[values["direction"]]
    element = wire.get("element")
    return Action(canonical_type(raw_type), arguments=None if element is None else {"element": str(element)}, **values)


def _numbers(value: Any, count: int, what: str) -> tuple[float, ...]:
    """`count` finite numbers, or strings that hold them."""
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{what} is {count} numbers, got {value!r:.60}")
    numbers = tuple(float(v) for v in value)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{what} is {count} finite numbers, got {value!r:.60}")
    return numbers


def _text(value: Any) -> str:
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise ValueError(f"a text is needed, got {value!r:.60}")
    return str(value)


def _key(value: Any) -> str:
    return " ".join(_text(value).lower().replace("+", " ").split())


def _direction(value: Any) -> str:
    direction = _text(value).strip().lower()
    if direction not in DIRECTIONS:
        raise ValueError(f"one of {', '.join(DIRECTIONS)}, got {value!r:.40}")
    return direction


_READERS = {
    "point": lambda value: _numbers(value, 2, "a place"),
    "end_point": lambda value: _numbers(value, 2, "a place"),
    "content": _text,
    "app_name": _text,
    "key": _key,
    "direction": _direction,
}
