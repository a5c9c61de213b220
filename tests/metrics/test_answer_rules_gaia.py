"""GAIA's rule, with the quirks of its owner's code worked out by hand."""

import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer1.metrics.answer_rules import ANSWER_RULES
from tracer1.metrics.answer_rules.gaia import gaia


def right(prediction: str | None, gold: str) -> bool:
    verdict = gaia(prediction, gold)
    assert verdict.counted
    assert isinstance(verdict.correct, bool)
    return verdict.correct


@pytest.mark.parametrize(
    ("prediction", "gold", "correct"),
    [
        ("17", "17", True),
        ("17.0", "17", True),
        ("17,000", "17000", True),
        ("17 thousand", "17000", False),
        (" 17 ", "17", True),
        ("$17", "17", True),
        ("17%", "17", True),
        ("$1,7%", "17", True),  # wherever they stand
        ("€17", "17", False),
        ("17 apples", "17", False),
        ("seventeen", "17", False),
        ("0.3", "0.30000000000000004", False),  # no tolerance
        ("1e3", "1000", True),
        ("1_000", "1000", True),
        ("", "0", False),
        ("-3", "-3.0", True),
        ("17", " 17 ", True),  # a gold is a number for all its spaces
        ("no number", "inf", True),  # what is no number counts as infinity
        ("no number", "-inf", False),
        ("nan", "nan", False),  # equal to nothing
    ],
)
def test_numbers(prediction: str, gold: str, correct: bool):
    assert right(prediction, gold) is correct


@pytest.mark.parametrize(
    ("prediction", "gold", "correct"),
    [
        ("1,234", "1,234", True),
        ("1234", "1,234", False),  # the trap: the gold is a list of 1 and 234
        ("1, 234", "1,234", True),
        ("1;234", "1,234", True),  # either separator for either
        ("$1; 234%", "1,234", True),
        ("01,234.0", "1,234", True),  # by value
        ("234,1", "1,234", False),  # in order
        ("a, b", "a; b", True),
        ("a, b, c", "a, b", False),
        ("a", "a, b", False),
        ("Sea Gull, St. John's", "seagull,st.john's", True),
        ("sea gull, St Johns", "seagull, St. John's", False),  # within lists punctuation counts
        ("$17, a", "17, a", True),
        ("17, $a", "17, a", False),
        ("x, b", "inf, b", True),
        ("a,", "a,", True),  # an empty second element
        ("a", "a,", False),
        ("", ",", False),
        (";", ",", True),
        ("$1,234", "$1,234", True),  # "$1" is no number in the gold, and so a text
        ("1,234", "$1,234", False),
    ],
)
def test_lists(prediction: str, gold: str, correct: bool):
    assert right(prediction, gold) is correct


@pytest.mark.parametrize(
    ("prediction", "gold", "correct"),
    [
        ("sea gull", "Seagull", True),
        ("SEA\tGULL.", "seagull", True),
        ("The seagull", "seagull", False),
        ("St. Petersburg", "st petersburg", True),
        ("a, b", "ab", True),  # the gold alone decides: here a comma is punctuation
        ("17 %", "$17", True),
        ("—", "-", False),  # no ASCII punctuation
        ("!?", "...", True),
        ("", "...", True),
        ("É", "é", True),
        ("e", "é", False),
    ],
)
def test_texts(prediction: str, gold: str, correct: bool):
    assert right(prediction, gold) is correct


def test_no_answer_is_the_text_none():
    assert right(None, "None")
    assert right(None, "none.")
    assert not right(None, "17")
    assert not right(None, "a, b")


def test_the_rules_there_are():
    assert ANSWER_RULES.names() == ["gaia", "gta_official", "gta_t3"]


texts = st.text(max_size=12)


def number_of(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@given(texts)
def test_a_gold_answers_itself_unless_it_is_not_a_number(gold: str):
    values = [number_of(element) for element in gold.replace(";", ",").split(",")]
    assert right(gold, gold) is not any(value is not None and math.isnan(value) for value in values)


@given(texts, st.text(string.whitespace, max_size=3))
def test_case_and_spaces_never_matter_to_a_text(gold: str, space: str):
    if number_of(gold) is None and not any(mark in gold for mark in ",;"):
        assert right(space.join(gold.upper().lower()), gold.upper())


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["", "$", "%", " "]), st.booleans())
def test_a_number_is_right_in_any_dress(value: float, dress: str, in_front: bool):
    assert right(dress + repr(value) if in_front else repr(value) + dress, repr(value))


@given(st.integers(), st.integers())
def test_only_the_same_number_is_right(one: int, other: int):
    assert right(f"{one:,}", str(other)) is (float(one) == float(other))


@given(st.lists(st.text("ab1.", min_size=1, max_size=3), min_size=2, max_size=4), st.permutations(",;,;"))
def test_separators_are_alike(elements: list[str], separators: list[str]):
    joined = "".join(e + s for e, s in zip(elements, separators, strict=False))[:-1]
    assert right(joined.replace(";", ","), joined)
    assert not right(joined + ",", joined)
