"""Qwen2.5-VL's rule, as its copies have it: enlarged candidate boxes, or a short distance; texts by containment.

Source: Reallm-Labs/InfiGUI-R1 d280ab87, eval/android_control/evaluate_android_control.py; X-PLUG/MobileAgent 11cea575,
UI-S1/evaluation/qwenvl_utils.py; OpenBMB/AgentCPM-GUI, eval/utils/evaluator.py (its constants). The copies part where the distance is
measured: in pixels of the longer side (InfiGUI-R1), or relative to each side (the other two).
"""

from collections.abc import Sequence

from tracer1.actions import in_box
from tracer1.metrics.comparing import TOUCHES, contains_either, has_place, kind_of, pixel_distance, same_arguments
from tracer1.metrics.rules import RULES, ActionVerdict, Gold
from tracer1.schema import Action, Box, Point

ENLARGED = 1.2  # of a candidate box, about its centre
SHARE = 0.04  # of the longer side
BUTTONS = ("press_back", "press_home", "press_recent", "hotkey")  # one type there: system_button


@RULES.register("android_control.qwen25")
def qwen25(gold: Gold, predicted: Action | None, *, width: int = 1000, height: int = 1000) -> ActionVerdict:
    """Types must agree, where all buttons are one type and a click on an app's icon opens it.

    Args:
        gold: Any of its boxes may be hit, enlarged; else the distance to its point decides. Of `open_app` the boxes are the icon's.
        predicted: None for an answer that could not be read: wrong.
        width, height: Of the screen in pixels, where the step does not say; equal sides measure relative to each side.
    """
    kind, given = kind_of(gold.action), kind_of(predicted)
    size = gold.image_size or (width, height)
    if kind in TOUCHES:
        hit = given == kind and _hit(predicted.point, gold.action.point, gold.boxes, size)
        return ActionVerdict(given == kind, hit if has_place(gold.action, gold.boxes) else None, hit)
    if kind == "open_app" and given == "click" and gold.boxes:
        hit = _hit(predicted.point, _centre(gold.boxes[0]), gold.boxes, size)
        return ActionVerdict(True, hit, hit)
    if kind in BUTTONS:
        return ActionVerdict(given in BUTTONS, None, given == kind and same_arguments(predicted, gold.action))
    if given != kind:
        return ActionVerdict(False, None, False)
    if kind in ("type", "open_app"):
        field = "content" if kind == "type" else "app_name"
        return ActionVerdict(True, None, _text_agrees(getattr(predicted, field), getattr(gold.action, field)))
    return ActionVerdict(True, None, same_arguments(predicted, gold.action))


def _hit(point: Point | None, target: Point | None, boxes: Sequence[Box], size: tuple[float, float]) -> bool:
    if point is None:
        return False
    if any(in_box(point, _enlarged(box)) for box in boxes):
        return True
    return target is not None and pixel_distance(point, target, size) <= SHARE * max(size)


def _centre(box: Box) -> Point:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _enlarged(box: Box) -> Box:
    (x, y), half_w, half_h = _centre(box), (box[2] - box[0]) * ENLARGED / 2, (box[3] - box[1]) * ENLARGED / 2
    return x - half_w, y - half_h, x + half_w, y + half_h


def _text_agrees(predicted: str | None, gold: str | None) -> bool:
    """Either is a part of the other, whatever the case. An empty text passes; no text at all does not."""
    return predicted is not None and contains_either(predicted.lower().strip(), (gold or "").lower().strip())
