"""GAIA's rule, as its leaderboard scores: numbers by value, lists element by element, everything else as squeezed text.

Source: gaia-benchmark/leaderboard scorer.py, of which MAT-Agent 121e1a42 (tongagent/evaluation/gaia_scorer.py) and smolagents e3a5b899
(examples/open_deep_research/scripts/gaia_scorer.py) hold copies. The gold alone decides which of the three is used.
"""

import math
import re
import string

from tracer1.metrics.answer_rules import ANSWER_RULES, Verdict

_SEPARATORS = re.compile("[,;]")
_UNITS = str.maketrans("", "", "$%,")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@ANSWER_RULES.register("gaia")
def gaia(prediction: str | None, gold: str) -> Verdict:
    """Whether the answer is the gold's number, list or text.

    The gold "1,234" is a list of two elements, not a number, and so is answered by "1,234" alone. Numbers are compared without any
    tolerance; an answer that is no number counts as infinity, so a gold "inf" is answered by anything.

    Args:
        prediction: None is read as the text "None", as the newer copies do.
        gold: The final answer as GAIA has it.
    """
    answer = str(prediction)
    if _number(gold) is not None:
        return Verdict(_same_element(answer, gold), counted=True)
    if _SEPARATORS.search(gold):
        mine, theirs = _SEPARATORS.split(answer), _SEPARATORS.split(gold)
        return Verdict(len(mine) == len(theirs) and all(map(_same_element, mine, theirs)), counted=True)
    return Verdict(_squeezed(answer).translate(_PUNCTUATION) == _squeezed(gold).translate(_PUNCTUATION), counted=True)


def _same_element(answer: str, gold: str) -> bool:
    """Of a list: by value where the gold is a number, else as text, where punctuation counts."""
    wanted = _number(gold)
    if wanted is None:
        return _squeezed(answer) == _squeezed(gold)
    given = _number(answer.translate(_UNITS))
    return (math.inf if given is None else given) == wanted


def _number(text: str) -> float | None:
    """What Python's float() reads: " 17 ", "1e3", "1_000" and "nan" as well."""
    try:
        return float(text)
    except ValueError:
        return None


def _squeezed(text: str) -> str:
    return "".join(text.split()).lower()
