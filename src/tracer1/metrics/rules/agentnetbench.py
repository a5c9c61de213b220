"""AgentNetBench's rule for one action: full marks in the box, fewer with the distance; texts by edit distance; keys as sets.

Source: xlang-ai/OpenCUA 1d70f206, evaluation/agentnetbench/eval.py. There a step is a list of pyautogui calls; here it is one action,
of which a drag is two calls (moveTo, dragTo). It knows nothing of a step's alternatives: score each and keep the best.
"""

import math

from tracer1.actions import ENDINGS, in_box
from tracer1.metrics.comparing import edit_similarity, has_place, kind_of
from tracer1.metrics.rules import RULES, ActionVerdict, Gold
from tracer1.schema import Action, Box, Point

FREE = 0.01 * 2**0.5  # of the screen: so far off is as good as on the spot
STEEPNESS = 120
SIMILAR = 0.8
_PLACES = ("click", "left_double", "right_single", "hover", "drag")


@RULES.register("agentnetbench")
def agentnetbench(gold: Gold, predicted: Action | None, *, graded: bool = False) -> ActionVerdict:
    """Types must agree (`finished` and `call_user` are one, `terminate`); the score then depends on place, text or keys.

    Args:
        gold: Its boxes are where a click or the start of a drag is right; else the distance to the point counts.
        predicted: None for an answer that could not be read: wrong.
        graded: Give the owner's score from 0 to 1 beside `success`, which asks for full marks.
    """
    kind, given = kind_of(gold.action), kind_of(predicted)
    same = given == kind or {given, kind} <= ENDINGS
    score = _score(kind, gold, predicted) if given == kind else 0.0
    click = score == 1.0 if kind in _PLACES and has_place(gold.action, gold.boxes) else None
    return ActionVerdict(same, click, score == 1.0, score if graded else None)


def _score(kind: str, gold: Gold, predicted: Action) -> float:
    """0..1 of an action of the right type. A type that the owner's script does not know (`wait`) is worth nothing there."""
    expert = gold.action
    if kind in _PLACES:
        scores = [_place_score(predicted.point, expert.point, gold.boxes)]
        if kind == "drag":
            scores.append(_place_score(predicted.end_point, expert.end_point, ()))
        return sum(scores) / len(scores)
    if kind == "type":
        return _text_score(predicted.content or "", expert.content or "")
    if kind == "hotkey":
        return float(set((predicted.key or "").lower().split()) == set((expert.key or "").lower().split()))
    return float(kind in ENDINGS or kind == "scroll")


def _place_score(point: Point | None, target: Point | None, boxes: tuple[Box, ...]) -> float:
    if point is None:
        return 0.0
    if any(in_box(point, box) for box in boxes):
        return 1.0
    if target is None:
        return 0.0
    return math.exp(-STEEPNESS * max(0.0, math.dist(point, target) / 1000 - FREE))


def _text_score(predicted: str, gold: str) -> float:
    """Case and white space at the ends do not count, a final newline included; from 0.8 on the similarity is as good as 1."""
    similarity = edit_similarity(predicted.lower().strip(), gold.lower().strip())
    return 1.0 if similarity >= SIMILAR else similarity / SIMILAR
