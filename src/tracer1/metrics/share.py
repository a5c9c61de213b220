"""A part of a whole with both numbers kept: figures that others publish can be checked only against hits and denominator."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tracer1.metrics.answer_rules import Verdict


@dataclass(frozen=True, slots=True)
class Share:
    """Hits of so many, as `630/729`."""

    hits: float  # a fraction where answers are right in part
    of: int
    unknown: int = 0  # answers that could not be judged; with any, the share is not known

    @property
    def value(self) -> float:
        """0..1 (more where the owner's denominator leaves out what the hits have in); NaN where nothing counts or not all is known."""
        return self.hits / self.of if self.of and not self.unknown else math.nan

    @property
    def percent(self) -> float:
        """Rounded to two places, as such figures are published."""
        return round(100 * self.value, 2)

    def __str__(self) -> str:
        judged = f", {self.unknown:,} not computed" if self.unknown else ""
        return f"{self.hits:g}/{self.of}{judged}"


def share_of(verdicts: Iterable[Verdict], of: int | None = None) -> Share:
    """The mean of the verdicts that count.

    Args:
        verdicts: A verdict that could not be computed makes the share unknown.
        of: The denominator; by default those that count or could not be computed.
    """
    verdicts = list(verdicts)
    unknown = sum(verdict.correct is None for verdict in verdicts)
    counted = [verdict for verdict in verdicts if verdict.counted]
    return Share(sum(float(v.correct or 0) for v in counted), len(counted) + unknown if of is None else of, unknown)
