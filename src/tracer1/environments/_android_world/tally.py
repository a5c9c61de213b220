"""What `suite_utils.run` returned -> a success rate with the episodes that it leaves out. It runs nothing.

AndroidWorld's own tally skips every episode that raised, so that its rate rises with each crash.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tally:
    """Successes of the episodes that ran; the others beside them."""

    ran: int
    succeeded: float  # a composite task counts the share of its parts
    crashed: tuple[str, ...]  # their tasks

    @property
    def rate(self) -> float | None:
        """Of the episodes that ran; None where none did."""
        return self.succeeded / self.ran if self.ran else None

    @property
    def rate_of_all(self) -> float | None:
        """Crashed episodes counted as failures: the lowest that the rate can be."""
        return self.succeeded / (self.ran + len(self.crashed)) if self.ran or self.crashed else None


def tally(episodes: Iterable[Mapping[str, Any]]) -> Tally:
    """Counts what the runner returned, or what its checkpointer loads.

    Args:
        episodes: With `task_template`, `is_successful` (NaN where it raised) and `exception_info`.
    """
    ran, succeeded, crashed = 0, 0.0, []
    for episode in episodes:
        if isinstance(episode.get("exception_info"), str):  # None or NaN where nothing was raised
            crashed.append(str(episode["task_template"]))
        else:
            ran, succeeded = ran + 1, succeeded + float(episode["is_successful"])
    return Tally(ran, succeeded, tuple(crashed))
