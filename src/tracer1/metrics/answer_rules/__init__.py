"""How the owners of GTA and GAIA score one final answer: pure functions of the prediction and the gold, found by name.

A rule's name is its file's: `gta_official`, `gta_t3`, `gaia`. Its keyword-only arguments are its settings. The quirks of the owners'
rules are kept, each with a test: a rule that were wiser would give other numbers than theirs. Rules know nothing of averages,
episodes or files, and load no heavy library. (`tracer1.answers` compares answers for rewards, by rules of our own.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracer1.registry import Registry

ANSWER_RULES = Registry("answer rule", "tracer1.metrics.answer_rules")

Similarity = Callable[[str, str], float]  # of two texts, -1..1: the cosine of their embeddings


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of one answer."""

    correct: bool | float | None  # a part of 1 where the rule gives some; None where it could not be computed
    counted: bool  # whether the answer belongs to the mean
    reason: str = ""  # why it could not be computed


UNCOUNTED = Verdict(correct=False, counted=False)

AnswerRule = Callable[[str | None, Any], Verdict]
Aliases = Mapping[
    str, Sequence[Sequence[str]] | None
]  # GTA's objective gold: `whitelist` and `blacklist`, groups of aliases
GtaGold = Aliases | Sequence[str] | None  # objective; three answers written by people; an image is asked for
