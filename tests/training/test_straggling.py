"""Which rank made the others wait, and when that is worth a line."""

import logging

import pytest

from tracer1.training.straggling import Straggler, straggler


def test_the_stage_in_which_most_was_waited_counts():
    ranks = [
        {"drawing": 1.0, "generating": 9.0},
        {"drawing": 7.0, "generating": 12.0},
        {"drawing": 2.0, "generating": 10.0},
    ]
    assert straggler(ranks) == Straggler(1, "drawing", 7.0, 2.0)
    assert straggler(ranks).behind_s == 5.0


def test_of_two_ranks_the_faster_one_is_what_the_slower_one_is_held_to():
    assert straggler([{"drawing": 1.0}, {"drawing": 4.0}]).behind_s == 3.0
    assert straggler([{"drawing": 1.0}, {}]) == Straggler(0, "drawing", 1.0, 0.0)


@pytest.mark.parametrize(("seconds", "others", "lines"), [(93, 20, 1), (59, 20, 0), (12, 3, 0), (14, 3, 1)])
def test_a_line_is_for_what_is_far_behind(caplog: pytest.LogCaptureFixture, seconds: float, others: float, lines: int):
    with caplog.at_level(logging.WARNING):
        Straggler(3, "generating", seconds, others).warn(7)
    assert len(caplog.messages) == lines
    for message in caplog.messages:
        assert message == f"Rank 3 took {seconds} s for generating in round 7, the others {others} s: they waited."
