"""From verdicts on steps to a benchmark's figures: sums per episode, means over them, and how sure they are. Plain numpy.

Every figure is a function of a table with one row per episode, so that it can be summed over ranks and resampled by episode. It
knows no benchmark, no rule and no file.

Shapes: E episodes, W weightings of them (one of ones is the figure itself, the others are bootstrap draws).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tracer1.metrics.operations import OPERATIONS
from tracer1.metrics.rules import ActionVerdict, ElementVerdict, Verdict

Sums = Mapping[str, np.ndarray]  # column -> (E,)
Statistic = Callable[[Sums, np.ndarray], np.ndarray]  # sums, (W, E) weights -> (W,); NaN where nothing counts

DUE = "due"  # the steps that an episode should have
ACTION_COLUMNS = ("steps", "type_match", "success", "clicks", "hits")
ELEMENT_COLUMNS = (
    "steps", "element", "f1", "success", *(f"{what}_{name}" for name in OPERATIONS for what in ("f1", "steps")),
)  # fmt: skip
LEVEL = 0.95  # of the intervals


class Estimate(NamedTuple):
    """A figure with the bounds of its 95 % interval; NaN where nothing counts. (A tuple: torchmetrics refuses frozen dataclasses.)"""

    value: float
    low: float
    high: float


def columns_of(verdict: Verdict, kind: str) -> dict[str, float]:
    """What one step adds to its episode's row.

    Args:
        verdict: A rule's.
        kind: The gold step's canonical type (`click`), or its operation (`CLICK`) for Mind2Web.
    """
    if isinstance(verdict, ActionVerdict):
        clicked = kind == "click" and verdict.type_match and verdict.click_match is not None
        hit = clicked and verdict.click_match
        return dict(
            zip(ACTION_COLUMNS, map(float, (1, verdict.type_match, verdict.success, clicked, hit)), strict=True)
        )
    return _element_columns(verdict, kind)


def _element_columns(verdict: ElementVerdict, operation: str) -> dict[str, float]:
    if verdict.success is None:  # left out
        return {}
    f1 = verdict.operation_f1 or 0.0
    counts = {"steps": 1.0, "element": float(bool(verdict.element_accuracy)), "f1": f1}
    return {**counts, "success": float(verdict.success), f"f1_{operation}": f1, f"steps_{operation}": 1.0}


# --- statistics --------------------------------------------------------------------------------------------------------


def ratio(top: str, bottom: str = "steps") -> Statistic:
    """The sum of one column over all episodes by the sum of another: a mean over steps."""

    def compute(sums: Sums, weights: np.ndarray) -> np.ndarray:
        return _divide(weights @ sums[top], weights @ sums[bottom])

    return compute


def mean_of_ratios(top: str, bottom: str = "steps") -> Statistic:
    """The mean over episodes of each one's own mean; an episode in which nothing counts is left out."""

    def compute(sums: Sums, weights: np.ndarray) -> np.ndarray:
        counted = (sums[bottom] > 0).astype(float)
        return _divide(weights @ np.nan_to_num(_divide(sums[top], sums[bottom])), weights @ counted)

    return compute


def all_right(success: str = "success", steps: str = "steps") -> Statistic:
    """The share of episodes whose every step is right; one with more or fewer steps than are due is left out."""

    def compute(sums: Sums, weights: np.ndarray) -> np.ndarray:
        whole = (sums[steps] == sums[DUE]) & (sums[steps] > 0)
        return _divide(weights @ (whole & (sums[success] == sums[steps])).astype(float), weights @ whole.astype(float))

    return compute


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several figures; those of which nothing counts are left out."""

    def compute(sums: Sums, weights: np.ndarray) -> np.ndarray:
        values = np.stack([statistic(sums, weights) for statistic in statistics])
        known = ~np.isnan(values)
        return _divide(np.where(known, values, 0.0).sum(0), known.sum(0).astype(float))

    return compute


def within(mask: np.ndarray, statistic: Statistic) -> Statistic:
    """A figure over some episodes only.

    Args:
        mask: (E,) bool.
        statistic: The figure.
    """

    def compute(sums: Sums, weights: np.ndarray) -> np.ndarray:
        return statistic({name: column[mask] for name, column in sums.items()}, weights[:, mask])

    return compute


def _divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.full(np.shape(top), math.nan), where=np.asarray(bottom) > 0)


# --- how sure ----------------------------------------------------------------------------------------------------------


def bootstrap_weights(strata: Sequence[str], draws: int, seed: int) -> np.ndarray:
    """How often each episode is drawn, with replacement, within its stratum: a cluster bootstrap, for an episode's steps depend.

    Args:
        strata: (E,) the stratum of each episode; each keeps its size in every draw.
        draws: How many times all episodes are drawn.
        seed: Of the draws.

    Returns:
        (draws, E) counts as floats.
    """
    generator = np.random.default_rng(seed)
    weights = np.zeros((draws, len(strata)))
    names = np.asarray(strata, dtype=object)
    for name in dict.fromkeys(strata):
        members = np.flatnonzero(names == name)
        shares = np.full(len(members), 1 / len(members))
        weights[:, members] = generator.multinomial(len(members), shares, size=draws)
    return weights


def estimate(sums: Sums, statistic: Statistic, weights: np.ndarray) -> Estimate:
    """A figure and the 2.5th and 97.5th percentile of its bootstrap draws.

    Args:
        sums: The table.
        statistic: The figure.
        weights: (draws, E) from `bootstrap_weights`; draws in which nothing counts are left out.
    """
    value = float(statistic(sums, np.ones((1, weights.shape[1])))[0])
    drawn = statistic(sums, weights)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))
