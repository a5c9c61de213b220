"""OS-Genesis's rule: one pixel distance for every screen, texts by F1, everything else must be equal.

Source: OS-Copilot/OS-Genesis e9178a87, evaluation/android_control/ac_eval.py. One clause of it has no place here: a scroll also passes
when its direction stands in the *prompt* ("Scroll up"); our prompts are others.
"""

import math

from tracer1.metrics.comparing import TOUCHES, has_place, kind_of, pixel_distance, same_arguments
from tracer1.metrics.rules import RULES, ActionVerdict, Gold
from tracer1.metrics.rules.android_control.os_atlas import texts_agree
from tracer1.schema import Action

LIMIT = math.hypot(0.14 * 1080, 0.14 * 2400)  # pixels, about 368, on a screen of any size


@RULES.register("android_control.os_genesis")
def os_genesis(gold: Gold, predicted: Action | None, *, width: int = 1080, height: int = 2400) -> ActionVerdict:
    """Types must agree; then clicks and long presses within 368 pixels, typed texts by F1, the rest (app names too) exactly.

    Args:
        gold: Places are compared with its point; boxes play no part.
        predicted: None for an answer that could not be read: wrong.
        width, height: Of the screen in pixels, where the step does not say.
    """
    kind = kind_of(gold.action)
    same = kind_of(predicted) == kind
    if kind in TOUCHES:
        points = (predicted.point, gold.action.point) if same else (None, None)
        hit = None not in points and pixel_distance(*points, gold.image_size or (width, height)) <= LIMIT
        return ActionVerdict(same, hit if has_place(gold.action, gold.boxes) else None, hit)
    if not same:
        return ActionVerdict(False, None, False)
    if kind == "type":
        return ActionVerdict(True, None, texts_agree(predicted.content, gold.action.content))
    return ActionVerdict(True, None, same_arguments(predicted, gold.action))
