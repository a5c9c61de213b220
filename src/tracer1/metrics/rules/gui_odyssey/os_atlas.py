"""OS-Atlas's step success on GUI-Odyssey: what the "SR" of UI-TARS's and TraceR1's tables is taken to be.

Source: OS-Copilot/OS-Atlas bad08407, eval/eval_scripts/odyssey/evaluation_unify.py. There an answer without a place counts as (0, 0),
which may lie within 140 of a target in the corner; here it is a miss.
"""

from tracer1.actions import DEFAULT_DISTANCE
from tracer1.metrics.comparing import TOUCHES, has_place, kind_of, near, set_f1, words
from tracer1.metrics.rules import RULES, ActionVerdict, Gold
from tracer1.metrics.rules.android_control.os_atlas import F1_ABOVE, texts_agree
from tracer1.schema import Action


@RULES.register("gui_odyssey.os_atlas")
def os_atlas(gold: Gold, predicted: Action | None, *, compat: bool = False) -> ActionVerdict:
    """Types must agree; then clicks and long presses within 140 of 1000, typed texts by F1, scrolls by direction; others are right.

    Args:
        gold: Places are compared with its point; boxes play no part.
        predicted: None for an answer that could not be read: wrong.
        compat: F1 of the whole written action, `TYPE [some text]`, as in the owner's script: the word TYPE is always common, and
            brackets stick to the first and last word. False: F1 of the text.
    """
    kind = kind_of(gold.action)
    same = kind_of(predicted) == kind
    if kind in TOUCHES:
        hit = same and near(predicted.point, gold.action.point, DEFAULT_DISTANCE)
        return ActionVerdict(same, hit if has_place(gold.action, gold.boxes) else None, hit)
    if same and kind == "type":
        compare = _written_agree if compat else texts_agree
        return ActionVerdict(True, None, compare(predicted.content, gold.action.content))
    if same and kind == "scroll":
        return ActionVerdict(True, None, predicted.direction == gold.action.direction)
    return ActionVerdict(same, None, same)


def _written_agree(predicted: str | None, gold: str | None) -> bool:
    written = [words(f"TYPE [{text or ''}]") for text in (predicted, gold)]
    return set_f1(*written) > F1_ABOVE
