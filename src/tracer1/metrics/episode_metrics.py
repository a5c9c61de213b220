"""The figures of a rule over episodes and ranks, as a torchmetric. What is computed of the sums is in `episodes`, its twin in numpy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric

from tracer1.metrics.episodes import DUE, Estimate, Statistic, estimate


class EpisodeFigures(Metric):
    """Adds up what steps give, by episode; ranks may hold any steps of any episode.

    Args:
        due: (E,) the steps that each episode should have; all ranks count episodes alike.
        columns: What is added up.
        figures: Name -> the figure.
        weights: (draws, E) for the intervals.
        **settings: torchmetrics' own.
    """

    higher_is_better = True
    full_state_update = False

    def __init__(
        self,
        due: Sequence[int],
        columns: Sequence[str],
        figures: Mapping[str, Statistic],
        weights: np.ndarray,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.due = np.asarray(due, dtype=float)
        self.places = {name: place for place, name in enumerate(columns)}
        self.figures, self.weights = dict(figures), weights
        self.add_state("sums", torch.zeros((len(due), len(columns)), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, episode: int, values: Mapping[str, float]) -> None:
        """Adds one step of an episode."""
        for name, value in values.items():
            self.sums[episode, self.places[name]] += value

    def compute(self) -> dict[str, Estimate]:
        """Every figure with its interval."""
        sums = self.table()
        return {name: estimate(sums, figure, self.weights) for name, figure in self.figures.items()}

    def table(self) -> dict[str, np.ndarray]:
        """Column -> (E,) sums, and the steps due. Of this rank alone, unless called within `compute`."""
        table = self.sums.cpu().numpy()
        return {DUE: self.due, **{name: table[:, place] for name, place in self.places.items()}}
