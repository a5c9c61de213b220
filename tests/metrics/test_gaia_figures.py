"""GAIA's figures by level, and the second chance beside them."""

import pytest

from tracer1.errors import DataError
from tracer1.metrics.answer_rules import Verdict
from tracer1.metrics.gaia import LEVELS, GaiaAnswer, gaia_figures
from tracer1.metrics.share import Share

RIGHT, WRONG = Verdict(True, True), Verdict(False, True)


def test_overall_and_by_level():
    answers = [GaiaAnswer(1, RIGHT), GaiaAnswer(1, WRONG), GaiaAnswer(3, RIGHT)]
    assert gaia_figures(answers) == {
        "ans_acc": Share(2, 3),
        "ans_acc.level1": Share(1, 2),
        "ans_acc.level3": Share(1, 1),
    }


def test_a_second_chance_is_another_figure():
    answers = [
        GaiaAnswer(1, RIGHT, reformatted=WRONG),  # right at once: not asked again
        GaiaAnswer(1, WRONG, reformatted=RIGHT),
        GaiaAnswer(2, WRONG, reformatted=WRONG),
        GaiaAnswer(2, RIGHT),
        GaiaAnswer(2, WRONG),
    ]
    assert gaia_figures(answers) == {
        "ans_acc": Share(2, 5),
        "ans_acc.level1": Share(1, 2),
        "ans_acc.level2": Share(1, 3),
        "ans_acc_reformat": Share(3, 5),
        "ans_acc_reformat.level1": Share(2, 2),
        "ans_acc_reformat.level2": Share(1, 3),
    }


def test_the_validation_split():
    assert sum(LEVELS.values()) == 165
    answers = [GaiaAnswer(level, RIGHT) for level, count in LEVELS.items() for _ in range(count)]
    assert {name: share.of for name, share in gaia_figures(answers).items()} == {
        "ans_acc": 165,
        "ans_acc.level1": 53,
        "ans_acc.level2": 86,
        "ans_acc.level3": 26,
    }


@pytest.mark.parametrize("level", [0, 4, "1", None])
def test_there_are_three_levels(level: object):
    with pytest.raises(DataError, match=r"GAIA answer 2 has level .*; there are 1, 2, 3\."):
        gaia_figures([GaiaAnswer(1, RIGHT), GaiaAnswer(level, RIGHT)])
