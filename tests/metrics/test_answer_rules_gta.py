"""GTA's two rules, with the quirks of their owners' code worked out by hand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer1.metrics.answer_rules import UNCOUNTED, Verdict
from tracer1.metrics.answer_rules._gta import read_gta_gold
from tracer1.metrics.answer_rules.gta_official import NOT_COMPUTED, gta_official
from tracer1.metrics.answer_rules.gta_t3 import gta_t3

RIGHT, WRONG = Verdict(True, True), Verdict(False, True)
SENTENCES = ["It is a dog.", "A dog.", "There is a dog."]


def gold(*groups: list[str], blacklist: list[list[str]] | None = None) -> dict:
    return {"whitelist": list(groups), "blacklist": blacklist}


def verdicts(prediction: str | None, *groups: list[str], blacklist: list[list[str]] | None = None) -> tuple[bool, bool]:
    """By the official rule and by T3's."""
    found = gold(*groups, blacklist=blacklist)
    return gta_official(prediction, found).correct, gta_t3(prediction, found).correct


@pytest.mark.parametrize(
    ("prediction", "alias", "official", "t3"),
    [
        ("The total is 10.81 dollars", "10.81", True, True),
        ("10.81", "10.81", True, True),
        ("$10.81.", "10.81", True, True),
        ("It costs 12", "2", False, True),  # a part of a word
        ("1.2", "2", True, True),  # the dot is a boundary
        ("two_2", "2", False, True),  # an underscore is none
        ("2nd", "2", False, True),
        ("the DOG barks", "dog", True, True),
        ("the dogs bark", "dog", False, True),
        ("10x81", "10.81", False, False),  # an alias is a text, no pattern
        ("10.810", "10.81", False, True),
        ("a red-green dog", "red-green", True, True),
        ("Île", "île", True, True),
        ("", "2", False, False),
        ("", "", False, True),  # no word, no boundary
        ("any word", "", True, True),
        # beginning or ending with no word character: found only where a word touches them
        ("x = -1", "-1", False, True),
        ("-1", "-1", False, True),
        ("x-1", "-1", True, True),
        ("it costs $12 now", "$12", False, True),
        ("US$12", "$12", True, True),
        ("50% of it", "50%", False, True),
        ("50%", "50%", False, True),
        ("50%of it", "50%", True, True),
        ("(b)", "(b)", False, True),
        ("I use C++ daily", "C++", False, True),
    ],
)
def test_one_alias(prediction: str, alias: str, official: bool, t3: bool):
    assert verdicts(prediction, [alias]) == (official, t3)


def test_every_group_needs_one_of_its_aliases():
    groups = ["two", "2"], ["cat", "kitten"]
    assert verdicts("2 kittens and a cat", *groups) == (True, True)
    assert verdicts("two birds", *groups) == (False, False)
    assert verdicts("a cat", *groups) == (False, False)
    assert verdicts("2 kittens", *groups) == (False, True)


def test_one_right_alias_makes_up_for_one_that_can_never_match():
    assert verdicts("the answer is -1", ["-1", "minus one", "is"]) == (True, True)


def test_the_blacklist_is_the_official_rule_s_alone():
    assert verdicts("2 or 3", ["2"], blacklist=[["3", "three"]]) == (False, True)
    assert verdicts("2 or THREE", ["2"], blacklist=[["1"], ["three"]]) == (False, True)
    assert verdicts("2 of 13", ["2"], blacklist=[["3"]]) == (True, True)  # between word boundaries, too
    assert verdicts("3", ["2"], blacklist=[["3"]]) == (False, False)
    assert verdicts("2", ["2"], blacklist=[]) == (True, True)
    assert gta_official("2", {"whitelist": [["2"]]}) == RIGHT  # no blacklist at all
    assert verdicts("2 at -1", ["2"], blacklist=[["-1"]]) == (True, True)  # the quirk helps here


def test_groups_without_aliases_match_any_word_officially_and_nothing_for_t3():
    assert verdicts("word", []) == (True, False)
    assert verdicts("...", []) == (False, False)
    assert verdicts("2", ["2"], blacklist=[[]]) == (False, True)


def test_no_groups_are_answered_by_anything_officially_and_not_counted_by_t3():
    assert gta_official("anything", gold()) == RIGHT
    assert gta_official("2", gold(blacklist=[["2"]])) == WRONG
    assert gta_t3("anything", gold()) == UNCOUNTED


def test_no_answer_is_wrong_and_counted():
    assert gta_official(None, gold(["none"])) == WRONG
    assert gta_official(None, SENTENCES) == Verdict(0.0, True)  # without any embedder
    assert gta_t3(None, gold(["2"])) == WRONG
    assert gta_t3(None, gold(["None"])) == RIGHT  # the owner reads it as text


def test_queries_for_an_image_are_not_counted():
    assert gta_official("here it is", None) == gta_t3("here it is", None) == UNCOUNTED
    assert gta_official("here it is", []) == UNCOUNTED


def test_sentences_are_not_computed_without_an_embedder():
    verdict = gta_official("A dog.", SENTENCES)
    assert verdict == NOT_COMPUTED
    assert verdict.correct is None
    assert not verdict.counted
    assert "all-mpnet-base-v2" in verdict.reason
    assert gta_t3("A dog.", SENTENCES) == UNCOUNTED


def test_sentences_count_by_the_most_similar_one():
    table = {"It is a dog.": 0.25, "A dog.": 0.75, "There is a dog.": -1.0}
    asked = []

    def similarity(prediction: str, sentence: str) -> float:
        asked.append(prediction)
        return table[sentence]

    assert gta_official("a hound", SENTENCES, similarity=similarity) == Verdict(0.75, True)
    assert asked == ["a hound"] * 3
    assert gta_official("a hound", SENTENCES[2:], similarity=similarity) == Verdict(0.0, True)  # never below 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("82", "an object with `whitelist` and `blacklist`, a list of texts or null is needed, got '82'"),
        (82, "is needed, got 82"),
        ({}, "`whitelist` is missing"),
        ({"whitlist": [["2"]]}, "`whitelist` is missing; there is 'whitlist'"),
        ({"blacklist": [["2"]]}, "`whitelist` is missing"),
        ({"whitelist": "2"}, "`whitelist` is a list of lists of aliases, got '2'"),
        ({"whitelist": ["2"]}, "`whitelist` is a list of lists of aliases, got ['2']"),
        ({"whitelist": None}, "`whitelist` is a list of lists of aliases, got None"),
        ({"whitelist": [[2]]}, "a group of `whitelist` holds texts, got 2"),
        ({"whitelist": [["2"]], "blacklist": ["2"]}, "`blacklist` is a list of lists of aliases, got ['2']"),
        ([1], "a list holds texts, got 1"),
        ([["2"]], "a list holds texts, got ['2']"),
    ],
)
def test_a_gold_that_is_none_is_named(value: object, said: str):
    with pytest.raises(ValueError, match=re.escape(said)):
        read_gta_gold(value)


def test_golds_as_they_stand_in_the_file():
    assert read_gta_gold(None) is None
    assert read_gta_gold(SENTENCES) == SENTENCES
    assert read_gta_gold({"whitelist": [["2"]], "blacklist": None}) == {"whitelist": [["2"]], "blacklist": []}
    assert read_gta_gold({"whitelist": [["2"]]}) == {"whitelist": [["2"]], "blacklist": []}


words = st.text("ab1 -$", max_size=4)
golds = st.fixed_dictionaries(
    {
        "whitelist": st.lists(st.lists(words, min_size=1, max_size=3), min_size=1, max_size=3),
        "blacklist": st.none() | st.lists(st.lists(words, max_size=2), max_size=2),
    }
)


@given(golds, st.text("ab1 -$", max_size=12))
def test_what_the_official_rule_passes_t3_s_passes(found: dict, prediction: str):
    if gta_official(prediction, found).correct:
        assert gta_t3(prediction, found).correct


@given(golds, words, words)
def test_t3_s_rule_only_gains_by_more_text(found: dict, before: str, after: str):
    answer = " ".join(group[0] for group in found["whitelist"])
    assert gta_t3(before + answer + after, found) == RIGHT


@given(st.lists(st.lists(st.from_regex(r"\A\w+( \w+)*\Z"), min_size=1, max_size=3), min_size=1, max_size=3), st.data())
def test_an_answer_made_of_whole_words_is_right(groups: list[list[str]], data: st.DataObject):
    said = [data.draw(st.sampled_from(group)) for group in groups]
    assert gta_official(", ".join(said), gold(*groups)) == RIGHT
    assert gta_official(", ".join(said), gold(*groups, blacklist=[[said[0]]])) == WRONG


@given(golds, st.none() | words)
def test_an_objective_query_is_always_counted_and_settled(found: dict, prediction: str | None):
    for verdict in (gta_official(prediction, found), gta_t3(prediction, found)):
        assert verdict.counted
        assert isinstance(verdict.correct, bool)
