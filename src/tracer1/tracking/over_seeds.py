"""One thing measured along x by several seeds: its mean and spread, and fewer points. Plain numbers; it knows no plot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]  # x, y

_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # two-sided, 1 to 10 degrees of freedom
MOST_POINTS = 200  # of a curve; more are replaced by the means of equal stretches of x


@dataclass
class Spread:
    """Mean and sample standard deviation over seeds, along x. Arrays of shape (X,); `sd` is NaN where there is one seed."""

    x: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    count: int = 0  # seeds


def spread(seeds: Sequence[Sequence[Point]]) -> Spread:
    """Mean and sample standard deviation where all seeds have a value: elsewhere the mean would jump as seeds come and go."""
    tables = [{x: y for x, y in points if math.isfinite(y)} for points in seeds if len(points)]
    shared = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    values = np.array([[table[x] for x in shared] for table in tables], dtype=float).reshape(len(tables), len(shared))
    mean = values.mean(0) if tables else np.zeros(0)
    sd = values.std(0, ddof=1) if len(tables) > 1 else np.full(len(shared), math.nan)
    return Spread(np.array(shared, dtype=float), mean, sd, len(tables))


def t_95(freedom: float) -> float:
    """Student's t for a two-sided 95 % interval; NaN without a degree of freedom, and no smaller than that of 10."""
    return _T_95[min(int(freedom), len(_T_95)) - 1] if freedom >= 1 else math.nan


def thinned(seeds: Sequence[Sequence[Point]], most: int = MOST_POINTS) -> tuple[list[list[Point]], int]:
    """At most about `most` points of each seed: the means of equal stretches of x, the same for all seeds.

    Returns:
        The points, and how many different x one of them stands for (1: nothing was thinned).
    """
    every = sorted({x for points in seeds for x, _ in points})
    if len(every) <= most:
        return [list(points) for points in seeds], 1
    width = math.ceil(len(every) / most)
    place = {x: rank // width for rank, x in enumerate(every)}
    middle = [float(np.mean(every[k : k + width])) for k in range(0, len(every), width)]
    found = []
    for points in seeds:
        bins: dict[int, list[float]] = {}
        for x, y in points:
            if math.isfinite(y):
                bins.setdefault(place[x], []).append(y)
        found.append([(middle[k], float(np.mean(ys))) for k, ys in sorted(bins.items())])
    return found, width
