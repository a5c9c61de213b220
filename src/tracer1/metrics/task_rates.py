"""Success rates over tasks with several episodes each, and how sure they are. It knows no benchmark and no success rule.

A rate is the mean over tasks of each task's mean, so that a task of which some episodes had no verdict counts as much as the others.
"""

import math
from collections.abc import Sequence

import numpy as np

from tracer1.metrics.episodes import Estimate, bootstrap_weights, estimate, ratio


class TaskRates:
    """The episodes of a run.

    Args:
        tasks: (E,) the task of each episode that has a verdict.
        draws: Bootstrap draws.
        seed: Of the draws.
    """

    METHOD = (
        "tasks drawn with replacement, then episodes within each of them, percentiles 2.5 and 97.5; "
        "`.these_tasks`: episodes within each task only"
    )

    def __init__(self, tasks: Sequence[str], draws: int, seed: int) -> None:
        self._tasks, self._draws, self._seed = list(tasks), draws, seed
        sizes = {task: self._tasks.count(task) for task in dict.fromkeys(tasks)}
        self._smallest = min(sizes.values(), default=0)
        self._part = np.array([1 / sizes[task] for task in tasks])  # of an episode in its task

    def over_tasks(self, values: Sequence[float]) -> Estimate:
        """The mean over tasks, with the interval for tasks like these.

        Args:
            values: (E,) of each episode.
        """
        return self._estimate(values, nested_weights(self._tasks, self._draws, self._seed))

    def over_episodes(self, values: Sequence[float]) -> Estimate:
        """The mean over tasks, with the interval for these very tasks; NaN bounds where a task has a single episode.

        Args:
            values: (E,) of each episode.
        """
        found = self._estimate(values, bootstrap_weights(self._tasks, self._draws, self._seed))
        return found if self._smallest > 1 else Estimate(found.value, math.nan, math.nan)

    def _estimate(self, values: Sequence[float], weights: np.ndarray) -> Estimate:
        sums = {"value": np.asarray(values, dtype=float) * self._part, "part": self._part}
        return estimate(sums, ratio("value", "part"), weights)


def nested_weights(tasks: Sequence[str], draws: int, seed: int) -> np.ndarray:
    """How often each episode is drawn when tasks are drawn with replacement, and then episodes within each drawn task.

    Args:
        tasks: (E,) the task of each episode.
        draws: How many times.
        seed: Of the draws.

    Returns:
        (draws, E) counts as floats.
    """
    generator = np.random.default_rng(seed)
    names, weights = np.asarray(tasks, dtype=object), np.zeros((draws, len(tasks)))
    known = list(dict.fromkeys(tasks))
    if not known:
        return weights
    drawn = generator.multinomial(len(known), np.full(len(known), 1 / len(known)), size=draws)  # (draws, tasks)
    for place, name in enumerate(known):
        members = np.flatnonzero(names == name)
        shares = np.full(len(members), 1 / len(members))
        weights[:, members] = generator.multinomial(drawn[:, place] * len(members), shares)
    return weights
