"""GUI-Odyssey's own action matching, whose mean over steps is the AMS.

Source: OpenGVLab/GUI-Odyssey fefcbe9d, src/eval_mm/GUIOdyssey_action_matching.py. Two faults around it are not reproduced: an empty
box there makes even a perfect click wrong, and a typed text is cut at its first colon.
"""

from tracer1.actions import DEFAULT_DISTANCE, in_box
from tracer1.metrics.comparing import TOUCHES, contains_either, edit_similarity, has_place, kind_of, near
from tracer1.metrics.rules import RULES, ActionVerdict, Gold
from tracer1.schema import Action

SIMILAR = 0.5


@RULES.register("gui_odyssey.ams")
def ams(gold: Gold, predicted: Action | None) -> ActionVerdict:
    """Types must agree; that is all for whatever is neither clicked, long-pressed, typed nor scrolled.

    Args:
        gold: A click may hit the box, its edges included, or lie within 0.14 of the point. No box is no hint, not a miss.
        predicted: None for an answer that could not be read: wrong.
    """
    kind = kind_of(gold.action)
    same = kind_of(predicted) == kind
    if kind in TOUCHES:
        point = predicted.point if same else None
        hit = point is not None and any(in_box(point, box) for box in gold.boxes[:1])
        hit = hit or near(point, gold.action.point, DEFAULT_DISTANCE)
        return ActionVerdict(same, hit if has_place(gold.action, gold.boxes) else None, hit)
    if same and kind == "type":
        return ActionVerdict(True, None, _text_agrees(predicted.content or "", gold.action.content or ""))
    if same and kind == "scroll":
        return ActionVerdict(True, None, predicted.direction == gold.action.direction)
    return ActionVerdict(same, None, same)


def _text_agrees(predicted: str, gold: str) -> bool:
    """Either is a part of the other (the empty text is), or half of the letters agree. Case counts."""
    predicted, gold = predicted.strip(), gold.strip()
    return contains_either(predicted, gold) or edit_similarity(predicted, gold) >= SIMILAR


def passes_for_being_empty(predicted: Action | None, gold: Action) -> bool:
    """Whether a typed text agrees only because it is empty: how often that is so is reported beside the score."""
    if kind_of(predicted) != "type" or kind_of(gold) != "type":
        return False
    return not (predicted.content or "").strip() and bool((gold.content or "").strip())
