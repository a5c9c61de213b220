"""GUI-R1's accuracy reward: strictly inside the box, or nearer than 140; words by F1 of at least 0.5; other types by name alone.

Source: ritzz-ai/GUI-R1 d43eea2f, verl/utils/reward_score/r1gui.py. It is a reward of theirs, not the evaluator of a published table.
"""

import math

from tracer1.actions import DEFAULT_DISTANCE
from tracer1.metrics.comparing import contains_either, has_place, kind_of, set_f1, words
from tracer1.metrics.rules import RULES, ActionVerdict, Gold
from tracer1.schema import Action

_WORDS = {"type": "content", "select": "content", "scroll": "direction"}
F1_FROM = 0.5
NO_TEXT = "no input text"  # what an answer without a text holds there, word for word


@RULES.register("android_control.gui_r1")
def gui_r1(gold: Gold, predicted: Action | None) -> ActionVerdict:
    """Types must agree; that is all for whatever is neither clicked, typed, selected nor scrolled, a long press included.

    Args:
        gold: The first box decides on a click where there is one, else the point.
        predicted: None for an answer that could not be read: wrong.
    """
    kind = kind_of(gold.action)
    same = kind_of(predicted) == kind
    if kind == "click":
        hit = same and _hit(gold, predicted)
        return ActionVerdict(same, hit if has_place(gold.action, gold.boxes) else None, hit)
    if same and kind in _WORDS:
        given, wanted = getattr(predicted, _WORDS[kind]), getattr(gold.action, _WORDS[kind])
        return ActionVerdict(True, None, _words_agree(given or NO_TEXT, wanted or NO_TEXT))
    return ActionVerdict(same, None, same)


def _hit(gold: Gold, predicted: Action) -> bool:
    if predicted.point is None:
        return False
    if gold.boxes:
        x1, y1, x2, y2 = gold.boxes[0]
        return x1 < predicted.point[0] < x2 and y1 < predicted.point[1] < y2
    return gold.action.point is not None and math.dist(predicted.point, gold.action.point) < DEFAULT_DISTANCE


def _words_agree(predicted: str, gold: str) -> bool:
    """F1 of at least 0.5, square brackets aside; of two single words one may be a part of the other."""
    given, wanted = (words(text.replace("[", "").replace("]", "")) for text in (predicted, gold))
    if len(given) == len(wanted) == 1 and contains_either(*given, *wanted):
        return True
    return set_f1(given, wanted) >= F1_FROM
