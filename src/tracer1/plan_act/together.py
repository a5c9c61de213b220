"""Calls that many threads make one at a time, and one thread answers many at a time. It knows nothing of what is asked.

Whoever serves takes what is waiting at that moment, at most so many, and never waits for more: a lone caller is answered at once,
and while a batch is being answered the next one gathers. In lockstep it waits until everybody asks: slower where some are slow, but
who is answered together no longer depends on who was quicker.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Question, Answer = TypeVar("Question"), TypeVar("Answer")
LOOK_S = 0.05  # how often a server without work looks whether it may go home


class Stopped(Exception):
    """Nobody answers any more: the run is over. Not an error of anybody's."""


class Together(Generic[Question, Answer]):
    """A counter with a queue.

    Args:
        answer: Questions -> as many answers, in order.
        at_most: Questions that it takes at once.
    """

    def __init__(self, answer: Callable[[Sequence[Question]], Sequence[Answer]], at_most: int) -> None:
        self._answer, self._at_most = answer, at_most
        self._queue: list[tuple[Question, Future[Answer]]] = []
        self._changed = threading.Condition()
        self._open = True

    def ask(self, question: Question) -> Answer:
        """Waits for the answer. Raises what answering raised, or Stopped."""
        answer: Future[Answer] = Future()
        with self._changed:
            if not self._open:
                raise Stopped
            self._queue.append((question, answer))
            self._changed.notify()
        return answer.result()

    def serve(self, until: threading.Event, callers: Callable[[], int] | None = None) -> None:
        """Answers in the calling thread until `until` is set; then whoever still waits, or asks later, is stopped.

        Args:
            until: When to go home.
            callers: How many there are that ask, at this moment: makes it wait for all of them (lockstep).
        """
        batch: list[tuple[Question, Future[Answer]]] = []
        try:
            while not until.is_set():
                with self._changed:
                    if not self._changed.wait_for(lambda: self._ready(callers), LOOK_S):
                        continue
                    most = (
                        len(self._queue) if callers else self._at_most
                    )  # whoever answers cuts it up, in its own order
                    batch, self._queue = self._queue[:most], self._queue[most:]
                self._serve(batch)
        finally:  # an interrupt in the middle of a batch too: nobody is left waiting
            with self._changed:
                self._open = False
                left, self._queue = [*batch, *self._queue], []
            for _, answer in left:
                if not answer.done():
                    answer.set_exception(Stopped())

    def _ready(self, callers: Callable[[], int] | None) -> bool:
        return bool(self._queue) and (callers is None or len(self._queue) >= callers())

    def _serve(self, batch: Sequence[tuple[Question, "Future[Answer]"]]) -> None:
        try:
            answers = self._answer([question for question, _ in batch])
        except Exception as error:  # it belongs to those who asked, in their threads
            for _, waiting in batch:
                waiting.set_exception(error)
            return
        for (_, waiting), answer in zip(batch, answers, strict=True):
            waiting.set_result(answer)
