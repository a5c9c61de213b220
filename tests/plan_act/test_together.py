"""Questions of many threads answered together: whoever waits, at most so many, and nobody is left waiting."""

import threading
import time

import pytest

from tracer1.plan_act.together import Stopped, Together


def asking(together, questions):
    """One thread for each question; their answers or errors, by question."""
    answers = {}

    def ask(question):
        try:
            answers[question] = together.ask(question)
        except BaseException as error:
            answers[question] = error

    threads = [threading.Thread(target=ask, args=(question,), daemon=True) for question in questions]
    for thread in threads:
        thread.start()
    return threads, answers


def wait_until(true, most_s=10.0):
    until = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.002)


def test_a_lone_question_is_answered_at_once():
    batches, over = [], threading.Event()
    together = Together(lambda many: (batches.append(list(many)), [2 * one for one in many])[1], 8)
    server = threading.Thread(target=together.serve, args=(over,), daemon=True)
    server.start()
    assert together.ask(4) == 8
    assert together.ask(5) == 10
    assert batches == [[4], [5]]
    over.set()
    server.join(10)
    assert not server.is_alive()


def test_what_waits_is_answered_together_up_to_the_limit():
    batches, first, go = [], threading.Event(), threading.Event()

    def answer(many):
        batches.append(len(many))
        first.set()
        assert go.wait(10)
        return [-one for one in many]

    together, over = Together(answer, 4), threading.Event()
    server = threading.Thread(target=together.serve, args=(over,), daemon=True)
    server.start()
    threads, answers = asking(together, [1])
    assert first.wait(10)  # the first is being answered; six more gather meanwhile
    more, later = asking(together, range(2, 8))
    wait_until(lambda: len(together._queue) == 6)
    go.set()
    for thread in threads + more:
        thread.join(10)
    over.set()
    assert batches == [1, 4, 2]
    assert answers | later == {n: -n for n in range(1, 8)}


def test_an_error_goes_to_those_who_asked_and_the_next_is_answered():
    def answer(many):
        if 13 in many:
            raise ValueError("13")
        return many

    together, over = Together(answer, 1), threading.Event()
    threading.Thread(target=together.serve, args=(over,), daemon=True).start()
    with pytest.raises(ValueError, match="13"):
        together.ask(13)
    assert together.ask(14) == 14
    over.set()


def test_nobody_is_left_waiting_when_the_server_goes_home():
    together, over = Together(list, 4), threading.Event()
    threads, answers = asking(together, [1, 2])
    wait_until(lambda: len(together._queue) == 2)
    over.set()
    together.serve(over)
    for thread in threads:
        thread.join(10)
    assert all(isinstance(answer, Stopped) for answer in answers.values())
    with pytest.raises(Stopped):
        together.ask(3)


def test_an_interrupt_in_the_middle_of_a_batch_stops_those_who_wait():
    def answer(many):
        raise KeyboardInterrupt

    together = Together(answer, 4)
    threads, answers = asking(together, [1])
    wait_until(lambda: together._queue)
    with pytest.raises(KeyboardInterrupt):
        together.serve(threading.Event())
    threads[0].join(10)
    assert isinstance(answers[1], Stopped)
