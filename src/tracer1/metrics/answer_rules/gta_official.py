r"""GTA's own rule: whole words for objective queries, likeness of sentences for subjective ones.

Source: open-compass/GTA 37c2b601, opencompass/opencompass/datasets/gta_bench.py (`iscorrect`, `simscore`). An alias is looked for
between word boundaries (`\b`), so one that begins or ends with another character ("-1", "$12", "50%") is found only where a letter,
a digit or an underscore touches it: never next to a space, never alone.
"""

import re
from collections.abc import Iterable, Sequence

from tracer1.metrics.answer_rules import ANSWER_RULES, UNCOUNTED, Aliases, GtaGold, Similarity, Verdict

NOT_COMPUTED = Verdict(
    correct=None,
    counted=False,
    reason="not computed: this gold is a list of sentences, which are compared by their all-mpnet-base-v2 embeddings",
)


@ANSWER_RULES.register("gta_official")
def gta_official(prediction: str | None, gold: GtaGold, *, similarity: Similarity | None = None) -> Verdict:
    """Every group of the whitelist must be found in the answer, and no alias of the blacklist.

    Args:
        prediction: The final answer; None where there is none: wrong.
        gold: A list is answered by its most similar sentence, 0..1; with null an image is asked for, and the answer is not counted.
        similarity: Of two sentences; without it a list is "not computed", which is not 0.
    """
    if not gold:
        return UNCOUNTED
    if isinstance(gold, Sequence):
        if prediction is None:
            return Verdict(correct=0.0, counted=True)
        if similarity is None:
            return NOT_COMPUTED
        return Verdict(max(0.0, *(float(similarity(prediction, sentence)) for sentence in gold)), counted=True)
    return Verdict(prediction is not None and _matches(prediction, gold), counted=True)


def _matches(prediction: str, gold: Aliases) -> bool:
    if not all(_found(group, prediction) for group in gold["whitelist"] or ()):
        return False
    groups = gold.get("blacklist")
    return not groups or not _found((alias for group in groups for alias in group), prediction)


def _found(aliases: Iterable[str], text: str) -> bool:
    """Whether one of them stands in the text between word boundaries. No alias at all: any word will do, as in the owner's pattern."""
    return re.search(rf"\b(?:{'|'.join(map(re.escape, aliases))})\b", text, re.IGNORECASE) is not None
