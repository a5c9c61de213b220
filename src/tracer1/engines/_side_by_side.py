"""Calls that wait, made side by side. It knows nothing of what is called.

The threads are daemons: a process that is told to stop does not wait for an answer that is still under way.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any


def side_by_side(run: Callable[[Any], Any], items: Sequence[Any], at_most: int) -> list[Any]:
    """`run` of each item, up to `at_most` at once, in the order of the items.

    Raises:
        Whatever `run` raised first; after that no further one begins, and those under way are waited for.
    """
    results: list[Any] = [None] * len(items)
    errors: list[BaseException] = []
    lock, numbers = threading.Lock(), iter(range(len(items)))

    def next_number() -> int | None:
        with lock:
            return None if errors else next(numbers, None)

    def work() -> None:
        for number in iter(next_number, None):
            try:
                results[number] = run(items[number])
            except BaseException as error:  # raised below, in the caller's thread
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(at_most, len(items)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:  # Ctrl-C: nothing further begins
        errors.append(error)
        raise
    if errors:
        raise errors[0]
    return results
