"""What a task is: a sentence, the files that go with it, the calls that solve it, and what they must give. It runs nothing."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MADE = "<made>"  # as an argument: the name of the file that an earlier call made
FINAL = "final_answer"
SPLITS = ("train", "heldout")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the reference solution.

    Args:
        tool: Its name.
        purpose: What the step is for, one imperative sentence: the plan's step instruction.
        known: What is known before the step, in a few words.
        arguments: By name; None for Python and for the final answer.
        code: Python, for python_interpreter.
        shows: What the tool's answer must hold as whole words; otherwise the task cannot be solved from what is seen.
    """

    tool: str
    purpose: str
    known: str
    arguments: Mapping[str, Any] | None = None
    code: str | None = None
    shows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A task with its reference solution; the final answer is the call after `calls`."""

    instruction: str
    calls: tuple[Call, ...]
    answer: str  # the generator's own ground truth, computed without any tool
    purpose: str = "give the answer"  # of the final answer
    files: Mapping[str, bytes] = field(default_factory=dict)  # by the names that the agent uses


@dataclass(frozen=True, slots=True)
class Dice:
    """Everything a family draws from: a generator, and what differs between the splits.

    Args:
        rng: Of this task alone.
        number: Three digits that make the task's file names unique among a thousand seeds.
        split: `train` or `heldout`: people, shops and layouts of one are never those of the other.
    """

    rng: random.Random
    number: str
    split: str

    def below(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return self.rng.randint(low, high)

    def of(self, *choices: Any) -> Any:
        """One of them."""
        return self.rng.choice(choices)

    def own(self, choices: tuple[Any, ...]) -> Any:
        """One of the split's own half: every other one."""
        return self.rng.choice(choices[SPLITS.index(self.split) :: 2])

    def name(self, stem: str, suffix: str) -> str:
        """A file name: `receipt_041.png`."""
        return f"{stem}_{self.number}.{suffix}"
