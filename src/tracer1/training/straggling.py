"""Which rank made the others wait, in which stage of a round, and how long. It knows seconds, and nothing of what a stage does."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

log = logging.getLogger(__name__)

TIMES = 3.0  # as long as the others,
SECONDS = 10.0  # and so much longer, is worth a line


@dataclass(frozen=True, slots=True)
class Straggler:
    """The rank that made the others wait longest in one stage of a round."""

    rank: int
    stage: str
    seconds: float  # its own
    others_s: float  # the median of all ranks; of two the faster one

    @property
    def behind_s(self) -> float:
        """What the others waited."""
        return self.seconds - self.others_s

    def warn(self, round: int) -> None:
        """A line when it is worth one."""
        if self.seconds > TIMES * self.others_s and self.behind_s > SECONDS:
            log.warning(
                "Rank %d took %.0f s for %s in round %d, the others %.0f s: they waited.",
                self.rank,
                self.seconds,
                self.stage,
                round,
                self.others_s,
            )


def straggler(seconds: Sequence[Mapping[str, float]]) -> Straggler:
    """Of the seconds that each rank was busy in each stage."""
    found = []
    for stage in seconds[0]:
        times = [own.get(stage, 0.0) for own in seconds]
        slowest = max(range(len(times)), key=times.__getitem__)
        found.append(Straggler(slowest, stage, times[slowest], median_low(times)))
    return max(found, key=lambda one: one.behind_s)
