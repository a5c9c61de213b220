"""What each part of an episode costs: wall time, and processor time by kind of process. It knows no policy and no reward."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from tracer1.environments._miniwob.browser import Browser, Seat
from tracer1.environments._miniwob.episode import Episode
from tracer1.environments._miniwob.processes import cpu_seconds
from tracer1.environments._miniwob.rules import rules_for
from tracer1.schema import Action

BESIDE = Action("click", point=(985.0, 985.0))  # a place where the easy tasks have nothing
Part = Callable[[], Awaitable[object]]


def phases(tasks: Sequence[str], times: int = 60) -> Iterator[str]:
    """One line for each part, on one page, one after the other.

    Args:
        tasks: Names, `demo` or `all`: whose episodes are begun; the last one's page is what is looked at and clicked on.
        times: Repetitions of each part; processor time is counted in hundredths of a second.
    """
    with asyncio.Runner() as runner:
        browser = Browser()
        try:
            seat = Seat(browser)
            episode = Episode(runner.run(seat.page()), seat.cdp, browser.pages_at)
            for name, part in _parts(episode, [rule.task for rule in rules_for(list(tasks))]):
                yield runner.run(_cost(name, part, times))
        finally:
            runner.run(browser.close())


def _parts(episode: Episode, tasks: Sequence[str]) -> Iterator[tuple[str, Part]]:
    for task in tasks:
        yield f"begin {task}", lambda task=task: episode.begin(task, 0)
    yield "look", episode.look
    yield "click and settle", lambda: episode.perform(BESIDE)
    yield "type 10 letters and settle", lambda: episode.perform(Action("type", content="abcdefghij"))


async def _cost(name: str, part: Part, times: int) -> str:
    await part()  # what is only done once, such as reading the page's files
    before, began = cpu_seconds(), time.perf_counter()
    for _ in range(times):
        await part()
    after, wall = cpu_seconds(), time.perf_counter() - began
    cost = {kind: 1000 * (after[kind] - before.get(kind, 0.0)) / times for kind in after}
    by_kind = ", ".join(f"{kind} {ms:.1f}" for kind, ms in sorted(cost.items(), key=lambda c: -c[1]) if ms >= 0.1)
    return f"{name:26s} {1000 * wall / times:6.1f} ms, {sum(cost.values()):6.1f} CPU-ms ({by_kind})"
