"""T3-Agent's rule for GTA, under which the TraceR1 paper's AnsAcc stands: parts of text, objective queries only.

Source: mat-agent/MAT-Agent 121e1a42, examples/gta/eval.py and main.py. All eight published numbers are k/156 for a whole k: of GTA's 229
queries the 57 for images and the 16 with sentences are left out.
"""

from collections.abc import Mapping

from tracer1.metrics.answer_rules import ANSWER_RULES, UNCOUNTED, GtaGold, Verdict


@ANSWER_RULES.register("gta_t3")
def gta_t3(prediction: str | None, gold: GtaGold) -> Verdict:
    """Some alias of every group of the whitelist must be a part of the answer, in any case: "2" is one of "12". No blacklist.

    Args:
        prediction: The final answer; None is read as the text "None", as the owner does.
        gold: A list, null, and aliases without a group are not counted.
    """
    if not isinstance(gold, Mapping) or not gold["whitelist"]:
        return UNCOUNTED
    said = str(prediction).lower()
    return Verdict(all(any(alias.lower() in said for alias in group) for group in gold["whitelist"]), counted=True)
