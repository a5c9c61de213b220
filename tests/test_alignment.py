"""The alignment maths against values worked out by hand. gamma = 0.8 throughout, so the weights are 1, 0.8, 0.64, 0.512, ..."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer1.alignment import (
    AlignmentRule,
    discounted_return,
    excess_repetitions,
    format_accuracy,
    is_valid_step,
    match_steps,
    repetitions,
    statuses_of,
    trajectory_accuracy,
    types_of,
)
from tracer1.schema import DONE, NOT_DONE, Action, Plan, PlanStep


def accuracy(types: str, reference: str, done: bool = False, **rule) -> float:
    """Types as one letter each, so that a plan fits on a line."""
    statuses = [NOT_DONE] * len(types)
    if done and statuses:
        statuses[-1] = DONE
    return trajectory_accuracy(list(types), statuses, list(reference), AlignmentRule(**rule))


def test_the_method_s_constants_are_the_defaults():
    rule = AlignmentRule()
    assert (rule.gamma, rule.position_penalty, rule.acceptance, rule.done_bonus) == (0.8, 0.1, 0.5, 0.2)
    assert (rule.unmatched_penalty, rule.repetition_penalty, rule.overlong_margin, rule.overlong_reward) == (
        0.15,
        0.1,
        3,
        0.05,
    )
    assert rule.ignore_reference_repetition is False


def test_an_exact_plan_that_ends_is_worth_one():
    assert accuracy("abc", "abc", done=True) == pytest.approx(1.0)  # (2.44 + 0.2) / (2.44 + 0.2)


def test_an_exact_plan_that_does_not_end_misses_the_bonus():
    assert accuracy("abc", "abc") == pytest.approx(2.44 / 2.64)


def test_equal_lengths_pair_by_position_and_a_wrong_pair_costs_no_penalty():
    # pairs (0,0) 1, (1,1) 0, (2,2) 1: 1 + 0.64 + 0.2 = 1.84 of 2.64; nothing is unmatched
    assert accuracy("axc", "abc", done=True) == pytest.approx(1.84 / 2.64)
    # even where a shifted match exists: "ba" against "ab" has no equal pair
    assert accuracy("ba", "ab", done=True) == pytest.approx(0.2 / 2.0)


def test_a_short_plan_pays_for_the_missing_step():
    # pair (0,0): 1 + 0.2 - 0.15 = 1.05 of 1 + 0.8 + 0.2 = 2
    assert accuracy("a", "ab", done=True) == pytest.approx(0.525)


def test_a_shifted_plan_is_discounted_by_its_own_position_and_the_shift():
    # x finds none; a at 1 takes 0 with 0.9; b at 2 takes 1 with 0.9: 0.9 * 0.8 + 0.9 * 0.64 = 1.296; + 0.2 - 0.15 = 1.346 of 2
    assert accuracy("xab", "ab", done=True) == pytest.approx(1.346 / 2)


def test_greedy_takes_the_best_unused_step_and_the_first_on_ties():
    assert match_steps("xa", "aya") == [(1, 0, pytest.approx(0.9))]  # 0 and 2 are both one place off
    assert match_steps("aaa", "aa") == [(0, 0, 1.0), (1, 1, 1.0)]  # the third a finds none unused
    assert match_steps("ab", "bab") == [
        (0, 1, pytest.approx(0.9)),
        (1, 0, pytest.approx(0.9)),
    ]  # 2 is as near; 0 comes first


def test_a_pair_five_places_apart_is_refused_and_one_four_apart_is_not():
    assert match_steps("xxxxa", "abc") == [(4, 0, pytest.approx(0.6))]
    assert match_steps("xxxxxa", "abc") == []  # 1 - 0.5 = 0.5 is not above 0.5


def test_an_overlong_plan_gets_its_fixed_reward():
    assert accuracy("abxyz", "ab") == pytest.approx((1.8 - 0.45) / 2)  # three more is still scored
    assert accuracy("abwxyz", "ab", done=True) == 0.05
    assert accuracy("abwxyz", "ab", overlong_margin=4) == pytest.approx((1.8 - 0.6) / 2)


def test_nothing_to_compare_is_worth_nothing():
    assert accuracy("", "ab") == accuracy("ab", "") == accuracy("", "") == 0.0


def test_penalties_never_make_it_negative():
    assert accuracy("x", "ab") == 0.0  # -0.15 for x, a and b each: -0.45
    assert accuracy("aaaaa", "aaaaa", repetition_penalty=1.0) == 0.0


def test_repetitions_count_every_place_where_three_in_a_row_are_equal():
    assert repetitions("aab") == Counter()
    assert repetitions("aaaa") == Counter(a=2)
    assert repetitions("aaabbb") == Counter(a=1, b=1)
    assert repetitions("ab" * 4) == Counter()  # alternation is no repetition


def test_repetition_costs_a_tenth_each_after_scaling():
    assert accuracy("aaaa", "aaaa", done=True) == pytest.approx(0.8)


def test_repetitions_of_the_reference_can_be_forgiven_type_by_type():
    assert accuracy("aaaa", "aaaa", done=True, ignore_reference_repetition=True) == pytest.approx(1.0)
    assert excess_repetitions("aaaaa", "aaa") == 2  # 3 predicted, 1 in the reference
    assert excess_repetitions("bbb", "aaaa") == 1  # another type's repetitions forgive nothing
    assert excess_repetitions("aaa", "aaaaaa") == 0  # fewer than the reference's earn nothing


def test_discounted_return_is_equations_one_and_two():
    # sims 1, 0, 1: 1 + 0.64; no repetition
    assert discounted_return("axc", "abc", 1.0, 0.1, 0.8) == pytest.approx(1.64)
    # sims 1, 1, 1 and rep at the third: 1 + 0.8 + 0.64 * (1 - 0.1)
    assert discounted_return("aaa", "aaa", 1.0, 0.1, 0.8) == pytest.approx(2.376)
    # beyond the reference sim is 0, and repetitions still cost: 1 + 0 - 0.5 * 0.64
    assert discounted_return("aaa", "a", 1.0, 0.5, 0.8) == pytest.approx(0.68)
    assert discounted_return("", "a", 1.0, 0.1, 0.8) == 0


def test_types_are_canonical_and_only_readable_steps_take_part():
    steps = [
        PlanStep(Action("TAP "), NOT_DONE),
        PlanStep(None, NOT_DONE),
        PlanStep(Action("wait"), None),
        PlanStep(Action("image_qa"), DONE),
    ]
    assert types_of(steps) == ("click", "image_qa")
    assert statuses_of(steps) == (NOT_DONE, DONE)


@pytest.mark.parametrize(
    ("step", "valid", "strictly"),
    [
        (PlanStep(Action("wait", "wait for it"), NOT_DONE, "a spinner"), True, True),
        (PlanStep(Action("wait", "wait for it"), NOT_DONE, ""), True, True),  # an empty string is a string
        (PlanStep(Action("wait", "  "), DONE, ""), True, False),
        (PlanStep(Action("wait"), DONE, None), False, False),
        (PlanStep(None, DONE, ""), False, False),
        (PlanStep(Action("wait", "wait"), None, ""), False, False),
        (PlanStep(Action("wait", "wait"), DONE, "", 1, "text after the step: 'ok'"), True, True),
    ],
)
def test_valid_steps(step, valid, strictly):
    assert is_valid_step(step) is valid
    assert is_valid_step(step, require_step_instruction=True) is strictly


def test_format_is_the_share_of_valid_steps_of_a_framed_response():
    good, bad = PlanStep(Action("wait"), DONE, ""), PlanStep(None, None, None, 2, "not JSON")
    assert format_accuracy(Plan((good, bad, good, good), framed=True)) == 0.75
    assert format_accuracy(Plan((good,), framed=False)) == 0.0
    assert format_accuracy(Plan((), framed=True)) == 0.0


@given(st.text("abc", max_size=12), st.text("abc", max_size=12), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_accuracy_is_in_range_and_one_for_the_reference_itself(types, reference, done, forgive):
    assert 0.0 <= accuracy(types, reference, done, ignore_reference_repetition=forgive) <= 1.0
    if reference:
        exact = accuracy(reference, reference, done=True)
        assert exact == pytest.approx(max(0.0, 1 - 0.1 * repetitions(reference).total()))
        assert accuracy(reference, reference, done=True, ignore_reference_repetition=True) == pytest.approx(1.0)
