"""Seed -> task: which family, which numbers. It runs no tool."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tracer1.toolbox.tasks import images, numbers, papers
from tracer1.toolbox.tasks.task import Dice, Task

FAMILIES: dict[str, Callable[[Dice], Task]] = {
    "change": numbers.change,
    "spread": numbers.spread,
    "equation": numbers.equation,
    "stock": papers.stock,
    "note": papers.note,
    "bill": papers.bill,
    "receipt": images.receipt,
    "code": images.code,
    "area": images.area,
    "sign": images.sign,
    "turn": images.turn,
    "thing": images.thing,
}
_STRIDE = 379  # has no factor in common with 1,000: neighbouring seeds get file numbers that have no digit in common


@dataclass(frozen=True, slots=True)
class Made:
    """A task, where it came from, and its name."""

    family: str
    seed: int
    task: Task

    @property
    def name(self) -> str:
        """Of the trajectory."""
        return f"{self.family}-{self.seed:04d}"


def make_task(seed: int, split: str) -> Made:
    """The task of a seed: the same one in every run.

    Args:
        seed: From 0 on; seeds take turns among the families. File names are unique among a thousand successive seeds.
        split: `train` or `heldout`: every sentence names a person, and people of one split are never those of the other, so that
            the splits have no sentence in common.
    """
    family = list(FAMILIES)[seed % len(FAMILIES)]
    rng = random.Random(f"{family}/{seed}/{split}")
    return Made(family, seed, FAMILIES[family](Dice(rng, f"{seed * _STRIDE % 1000:03d}", split)))
