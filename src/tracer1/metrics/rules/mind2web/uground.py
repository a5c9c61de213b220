"""UGround's rule: any positive box, F1 of "operation value" without bare punctuation.

Source: OSU-NLP-Group/UGround 3a9b9f2b, offline_evaluation/Multimodal-Mind2Web/eval.py. No step is left out: without a box the element
is wrong. There an answer without a place counts as (0, 0); here it is a miss.
"""

import string

from tracer1.actions import in_box
from tracer1.metrics.comparing import set_f1, words
from tracer1.metrics.operations import operation_of
from tracer1.metrics.rules import RULES, ElementVerdict, Gold
from tracer1.schema import Action


@RULES.register("mind2web.uground")
def uground(gold: Gold, predicted: Action | None) -> ElementVerdict:
    """The place must lie in any of the boxes, and operation and value must have an F1 of 1.

    Args:
        gold: Edges of its boxes are included.
        predicted: None for an answer that could not be read: wrong.
    """
    if predicted is None:
        return ElementVerdict(False, 0.0, False)
    hit = predicted.point is not None and any(in_box(predicted.point, box) for box in gold.boxes)
    given, wanted = operation_of(predicted), operation_of(gold.action)
    value = (predicted.content or "") if given != "CLICK" else ""
    if value.lower() == "none":  # the owner's word for no value
        value = ""
    f1 = set_f1(_words_of(f"{given} {value}"), _words_of(f"{wanted} {gold.action.content or ''}"))
    return ElementVerdict(hit, f1, hit and f1 == 1.0)


def _words_of(text: str) -> set[str]:
    """The words but for those that stand as they are in the list of punctuation marks, like `,` or `./`."""
    return {word for word in words(text) if word not in string.punctuation}
