"""SeeClick's rule, copied by ShowUI and in all likelihood UI-TARS's: a box rounded to thousandths, F1 of `<id> <value>`.

Source: njucckevin/SeeClick 0ef37ac4, agent_tasks/mind2web_test.py. Steps without a box are left out of every mean.
"""

from tracer1.actions import in_box
from tracer1.metrics.comparing import set_f1
from tracer1.metrics.operations import operation_of
from tracer1.metrics.rules import RULES, SKIPPED, ElementVerdict, Gold
from tracer1.schema import Action, Box, Point

_IDS = {"CLICK": "4", "SELECT": "2", "TYPE": "3"}


@RULES.register("mind2web.seeclick")
def seeclick(gold: Gold, predicted: Action | None) -> ElementVerdict:
    """The place must lie in the (first) box, and operation and value must have an F1 of 1.

    Args:
        gold: Without a box the step is left out.
        predicted: None for an answer that could not be read: wrong. Without a place, or a value that its operation needs, it counts
            as unreadable for the F1, too.
    """
    if not gold.boxes:
        return SKIPPED
    if predicted is None or predicted.point is None:
        return ElementVerdict(False, 0.0, False)
    hit = _in_rounded_box(predicted.point, gold.boxes[0])
    operation = operation_of(predicted)
    if operation in ("TYPE", "SELECT") and predicted.content is None:
        return ElementVerdict(hit, 0.0, False)
    f1 = set_f1(_words_of(operation, predicted), _words_of(operation_of(gold.action), gold.action))
    return ElementVerdict(hit, f1, hit and f1 == 1.0)


def _in_rounded_box(point: Point, box: Box) -> bool:
    """Relative to the image's size the box is rounded to three decimals, the point is not; edges are included."""
    x1, y1, x2, y2 = (round(value / 1000, 3) for value in box)
    return in_box((point[0] / 1000, point[1] / 1000), (x1, y1, x2, y2))


def _words_of(operation: str, action: Action) -> set[str]:
    value = (action.content or "").lower() if operation in ("TYPE", "SELECT") else ""
    return {_IDS.get(operation, operation), *value.split()}
