"""What several rules compare alike: types, places, words. Which of it counts is each rule's own affair; this knows no rule."""

import math
from collections.abc import Iterable, Sequence

from tracer1.actions import ACTION_TYPES, DEFAULT_DISTANCE, ENDINGS, canonical_type
from tracer1.schema import Action, Box, Point

TOUCHES = ("click", "long_press")  # the types with a place in the mobile benchmarks


def kind_of(action: Action | None) -> str | None:
    """The canonical type; None for an action that could not be read."""
    return None if action is None else canonical_type(action.action_type)


def near(point: Point | None, target: Point | None, distance: float = DEFAULT_DISTANCE) -> bool:
    """Whether both places are known and at most `distance` apart, in 0..1000 units, x and y alike."""
    return point is not None and target is not None and math.dist(point, target) <= distance


def pixel_distance(point: Point, target: Point, size: tuple[float, float]) -> float:
    """The distance on a screen of `size` (width, height) pixels."""
    return math.hypot((point[0] - target[0]) * size[0] / 1000, (point[1] - target[1]) * size[1] / 1000)


def has_place(action: Action, boxes: Sequence[Box]) -> bool:
    """Whether anything says where the action happens."""
    return action.point is not None or bool(boxes)


def same_arguments(predicted: Action, gold: Action) -> bool:
    """Whether all that the gold action's type requires is equal, places to the last digit. What it does not require does not count."""
    kind = canonical_type(gold.action_type)
    if kind in ENDINGS:
        return True
    if kind not in ACTION_TYPES:
        return dict(predicted.arguments or {}) == dict(gold.arguments or {})
    return all(getattr(predicted, name) == getattr(gold, name) for name in ACTION_TYPES[kind].required)


def words(text: str) -> set[str]:
    """The different words of a text, lower-cased."""
    return set(text.lower().split())


def set_f1(predicted: Iterable[str], gold: Iterable[str]) -> float:
    """F1 of two sets of words, 0..1; 0 without a common word.

    Written with precision and recall, as all owners do: just at 0.5 another form may round to the other side.
    """
    predicted, gold = set(predicted), set(gold)
    common = len(predicted & gold)
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def contains_either(one: str, other: str) -> bool:
    """Whether one text is a part of the other. The empty text is a part of any."""
    return one in other or other in one


def edit_similarity(one: str, other: str) -> float:
    """1 less the Levenshtein distance over the longer length, 0..1; 1 for two empty texts."""
    longest = max(len(one), len(other))
    return 1.0 if longest == 0 else 1 - edit_distance(one, other) / longest


def edit_distance(one: str, other: str) -> int:
    """The fewest letters to insert, delete or replace (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        above, row = row, [i]
        for j, wanted in enumerate(other, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != wanted)))
    return row[-1]
