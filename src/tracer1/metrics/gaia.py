"""GAIA's figures: AnsAcc overall and by level, and the same after a second chance. It knows no file and no agent.

T3's evaluation has a model bring an answer that was wrong into the form that the question asks for, and scores it again. That is another
number, so it has another name: `ans_acc_reformat`.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tracer1.errors import DataError
from tracer1.metrics.answer_rules import Verdict
from tracer1.metrics.share import Share, share_of

LEVELS = {
    1: 53,
    2: 86,
    3: 26,
}  # questions of the validation split, on whose answers published level figures are exact fractions


class GaiaAnswer(NamedTuple):
    """One question's verdicts."""

    level: int  # 1..3
    verdict: Verdict  # of the answer as it was given
    reformatted: Verdict | None = None  # of the answer brought into form, where that was tried


def gaia_figures(answers: Iterable[GaiaAnswer]) -> dict[str, Share]:
    """`ans_acc`, `ans_acc.level1` … for the levels that occur, and `ans_acc_reformat…` where any answer was brought into form.

    Raises:
        DataError: a level that GAIA does not have.
    """
    answers = list(answers)
    for number, answer in enumerate(answers, start=1):
        if answer.level not in LEVELS:
            raise DataError(
                f"GAIA answer {number} has level {answer.level!r}; there are {', '.join(map(str, LEVELS))}."
            )
    figures = _by_level("ans_acc", [(answer.level, answer.verdict) for answer in answers])
    if any(answer.reformatted is not None for answer in answers):
        figures |= _by_level("ans_acc_reformat", [(answer.level, _second_chance(answer)) for answer in answers])
    return figures


def _by_level(name: str, verdicts: list[tuple[int, Verdict]]) -> dict[str, Share]:
    levels = sorted({level for level, _ in verdicts})
    of_level = {f"{name}.level{level}": share_of(v for other, v in verdicts if other == level) for level in levels}
    return {name: share_of(v for _, v in verdicts), **of_level}


def _second_chance(answer: GaiaAnswer) -> Verdict:
    return answer.verdict if answer.verdict.correct or answer.reformatted is None else answer.reformatted
