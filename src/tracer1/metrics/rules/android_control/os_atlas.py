"""OS-Atlas's rule, whose three numbers (type, grounding, step success) UI-TARS tabulates too.

Source: OS-Copilot/OS-Atlas bad08407, eval/eval_scripts/android_control/evaluation_unify.py. It knows nothing of sub-splits.
"""

from tracer1.actions import DEFAULT_DISTANCE
from tracer1.metrics.comparing import TOUCHES, has_place, kind_of, near, same_arguments, set_f1, words
from tracer1.metrics.rules import RULES, ActionVerdict, Gold
from tracer1.schema import Action

_TEXT = {"type": "content", "open_app": "app_name"}
F1_ABOVE = 0.5


@RULES.register("android_control.os_atlas")
def os_atlas(gold: Gold, predicted: Action | None, *, compat: bool = False) -> ActionVerdict:
    """Types must agree; then clicks and long presses within 140 of 1000, typed texts and app names by F1, the rest exactly.

    Args:
        gold: Places are compared with its point; boxes play no part.
        predicted: None for an answer that could not be read: wrong.
        compat: Compare texts as the owner's script does, see `_first_word_agrees`.
    """
    kind = kind_of(gold.action)
    same = kind_of(predicted) == kind
    if kind in TOUCHES:
        hit = same and near(predicted.point, gold.action.point, DEFAULT_DISTANCE)
        return ActionVerdict(same, hit if has_place(gold.action, gold.boxes) else None, hit)
    if not same:
        return ActionVerdict(False, None, False)
    if kind in _TEXT:
        texts = getattr(predicted, _TEXT[kind]), getattr(gold.action, _TEXT[kind])
        return ActionVerdict(True, None, _first_word_agrees(*texts) if compat else texts_agree(*texts))
    return ActionVerdict(True, None, same_arguments(predicted, gold.action))


def texts_agree(predicted: str | None, gold: str | None) -> bool:
    """Equal, or a set F1 of the lower-cased words above 0.5."""
    predicted, gold = predicted or "", gold or ""
    return predicted == gold or set_f1(words(predicted), words(gold)) > F1_ABOVE


def _first_word_agrees(predicted: str | None, gold: str | None) -> bool:
    """As the script: of `TYPE [some text]` it compares the word behind the type only, the bracket included.

    So a wrong tail passes, and a single word (`[some]`) is never the first of several (`[some`). Without a text it fails there.
    """
    if predicted is None:
        return False
    predicted, gold = f"[{predicted}]", f"[{gold or ''}]"
    return predicted == gold or predicted.lower().split()[0] == gold.lower().split()[0]
