"""Runs the expert on many (task, seed) pairs, several pages at once, and turns solved episodes into steps. It writes no file."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tracer1.environments._miniwob.browser import Seat, open_browser
from tracer1.environments._miniwob.episode import HEIGHT, WIDTH, Episode
from tracer1.environments._miniwob.hand import Hand, Move, Unsolved
from tracer1.environments._miniwob.rules import Rule
from tracer1.errors import EnvironmentFault
from tracer1.schema import DONE, NOT_DONE, PlanStep, Step

log = logging.getLogger(__name__)
ATTEMPTS = 3  # a crashed page or browser is replaced and the episode begun again
TIME_LIMIT = 60.0  # seconds of one attempt; longer means that the page hangs


@dataclass(frozen=True, slots=True)
class Recorded:
    """One (task, seed): the expert's steps when the page's raw reward was exactly 1, else none and the reason."""

    task: str
    seed: int
    steps: tuple[Step, ...] = ()
    actions: int = 0
    reward: float = 0.0
    reason: str = ""

    @property
    def solved(self) -> bool:
        return bool(self.steps)


def to_steps(rule: Rule, seed: int, goal: str, moves: list[Move], browser: str) -> tuple[Step, ...]:
    """The expert's moves as steps, each with all of its history and future.

    Args:
        rule: The rule that moved.
        seed: The episode.
        goal: The page's instruction.
        moves: What was seen and done, at least one.
        browser: Name and version: another one may draw a screenshot otherwise.
    """
    last = len(moves) - 1
    plan = tuple(
        PlanStep(move.action, DONE if t == last else NOT_DONE, move.abstraction, number=t + 1)
        for t, move in enumerate(moves)
    )
    meta = {"task": rule.task, "seed": seed, "raw_reward": 1.0, "privileged": rule.privileged, "browser": browser}
    return tuple(
        Step(
            key=f"miniwob-{rule.task}-{seed:06d}-{t:03d}",
            dataset="miniwob",
            trajectory=f"{rule.task}-{seed:06d}",
            index=t,
            instruction=goal,
            screenshot=move.screenshot,
            history=plan[:t],
            future=plan[t:],
            boxes=move.boxes,
            platform="web",
            image_size=(WIDTH, HEIGHT),
            meta={**meta, "licence": "MIT (MiniWoB++)"},
        )
        for t, move in enumerate(moves)
    )


async def solve(page: Any, seat: Seat, rule: Rule, seed: int) -> Recorded:
    """One episode by the expert on the seat's page."""
    episode = Episode(page, seat.cdp, seat.browser.pages_at)
    hand = Hand(episode)
    goal = await episode.begin(rule.task, seed)
    reason = ""
    try:
        await rule.solve(hand, goal)
    except Unsolved as error:
        reason = str(error)
    if not reason and not (episode.done and episode.reward == 1.0):
        reason = f"raw reward {episode.reward:g}" if episode.done else "the rule ended before the episode"
    steps = () if reason else to_steps(rule, seed, goal, hand.moves, seat.browser.version)
    return Recorded(rule.task, seed, steps, len(hand.moves), episode.reward, reason)


async def _attempts(seat: Seat, rule: Rule, seed: int) -> Recorded:
    """`solve`, begun again on a new page when the old one crashed or hung."""
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            return await seat.watch(solve(await seat.page(), seat, rule, seed), TIME_LIMIT)
        except EnvironmentFault as fault:
            reason = str(fault)
            log.warning("%s seed %d, attempt %d: %s", rule.task, seed, attempt + 1, reason)
    return Recorded(rule.task, seed, reason=reason)


async def _batch(seats: list[Seat], jobs: list[tuple[Rule, int]]) -> list[Recorded]:
    """All jobs of a batch, each seat taking the next one as soon as it is free; results in the order of the jobs."""
    results: list[Recorded | None] = [None] * len(jobs)
    queue = iter(enumerate(jobs))

    async def work(seat: Seat) -> None:
        for i, (rule, seed) in queue:
            results[i] = await _attempts(seat, rule, seed)

    await asyncio.gather(*(work(seat) for seat in seats))
    return [result for result in results if result is not None]


def record(jobs: Iterable[tuple[Rule, int]], workers: int = 4, batch: int = 32) -> Iterator[Recorded]:
    """Yields one result per job, in order, so that what is written does not depend on the number of workers.

    Args:
        jobs: (rule, seed) pairs.
        workers: Pages open at the same time.
        batch: Jobs between two yields.

    Raises:
        MissingDependency: no Chromium, no Playwright or no MiniWoB++.
    """
    todo = list(jobs)
    with asyncio.Runner() as runner:
        context = open_browser()
        browser = runner.run(context.__aenter__())
        seats = [Seat(browser) for _ in range(max(1, workers))]
        try:
            for start in range(0, len(todo), batch):
                yield from runner.run(_batch(seats, todo[start : start + batch]))
        finally:
            runner.run(context.__aexit__(None, None, None))
