"""Mind2Web's own rule: the chosen element must be one of the right ones, F1 of "OPERATION value" with case.

Source: OSU-NLP-Group/SeeAct 2434627b, src/data_utils/evaluation_utils.py, and Mind2Web's calculate_f1. It needs the page's elements with
their boxes (`Gold.elements`), because a planner chooses a place, not an element; without them it leaves the step out.
"""

from collections.abc import Sequence

from tracer1.actions import in_box
from tracer1.metrics.comparing import set_f1
from tracer1.metrics.operations import operation_of
from tracer1.metrics.rules import RULES, SKIPPED, Element, ElementVerdict, Gold
from tracer1.schema import Action, Point


@RULES.register("mind2web.original")
def original(gold: Gold, predicted: Action | None) -> ElementVerdict:
    """The chosen element must be positive, and operation and value must have an F1 of 1. No positive element: all wrong.

    Args:
        gold: Its elements are those that could be chosen.
        predicted: `arguments["element"]` names its element; else it is the smallest one whose box holds its point. None: wrong.
    """
    if gold.elements is None:
        return SKIPPED
    right = {element.name for element in gold.elements if element.positive}
    if predicted is None or not right:
        return ElementVerdict(False, 0.0, False)
    chosen = (predicted.arguments or {}).get("element")
    hit = (chosen_element(predicted.point, gold.elements) if chosen is None else str(chosen)) in right
    f1 = set_f1(_words_of(predicted), _words_of(gold.action))
    return ElementVerdict(hit, f1, hit and f1 == 1.0)


def chosen_element(point: Point | None, elements: Sequence[Element]) -> str | None:
    """The name of the smallest element around the point, the first of equals; None outside of all."""
    around = [e for e in elements if point is not None and e.box is not None and in_box(point, e.box)]
    areas = [(e.box[2] - e.box[0]) * (e.box[3] - e.box[1]) for e in around]
    return around[areas.index(min(areas))].name if around else None


def _words_of(action: Action) -> set[str]:
    operation = operation_of(action)
    return {operation, *(() if operation == "CLICK" else (action.content or "").split())}
