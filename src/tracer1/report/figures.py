"""Evaluations and benchmarks, as their JSON files tell them; a file of another version lacks things. It knows nothing of pages."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from tracer1.report.found import Found, Report
from tracer1.report.groups import without_seed


class Figure(NamedTuple):
    """A value with its bounds; None where nothing counted or nothing was written."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Evaluations:
    """Reports of one kind of evaluation, one for each seed."""

    label: str
    reports: Sequence[Report]

    @property
    def policies(self) -> list[str]:
        """Whose figures these are."""
        return [str(report.content.get("policy", "")) for report in self.reports]

    @property
    def steps(self) -> str:
        """How many held-out steps."""
        return ", ".join(dict.fromkeys(str(report.content.get("steps", "?")) for report in self.reports))

    def names(self) -> list[str]:
        """Of its figures."""
        return list(dict.fromkeys(k for r in self.reports for k in r.content if str(k).startswith("val/")))

    def figure(self, name: str) -> Figure:
        """Mean over seeds, and mean ± one sample standard deviation."""
        return over_seeds([number(report.content.get(name)) for report in self.reports])


def evaluations(found: Found, rank: Callable[[str], int]) -> list[Evaluations]:
    """Reports of the same file name in folders that differ by a seed alone, together.

    Args:
        found: Where they are.
        rank: Of a policy's path: how far down the chain of trainings it was made. Equals stand in the order of their making.
    """
    kinds: dict[str, list[Report]] = {}
    for report in sorted(found.evaluations, key=lambda r: (rank(str(r.content["policy"])), *_made(r.path))):
        place = Path(found.name(report.path))
        kinds.setdefault(without_seed(place), []).append(report)
    stems = [Path(kind).stem for kind in kinds]
    labels = [
        stem if stems.count(stem) == 1 else kind.removesuffix(".json") for kind, stem in zip(kinds, stems, strict=True)
    ]
    return [
        Evaluations(label.replace("_", " "), reports) for label, reports in zip(labels, kinds.values(), strict=True)
    ]


@dataclass(frozen=True)
class Benchmark:
    """One run of a benchmark."""

    path: Path
    content: Mapping[str, Any]
    place: str  # its path as it is shown

    @property
    def name(self) -> str:
        """The benchmark's."""
        return str(self.content["benchmark"])

    @property
    def policy(self) -> str:
        """Who was scored; empty where the file does not say."""
        return str(self.content.get("policy") or "")

    @property
    def headline(self) -> str:
        """The key of the figure that published numbers stand beside."""
        return str(self.content.get("headline") or "")

    @property
    def figures(self) -> dict[str, Figure]:
        """By key, without the part that they all have in common."""
        return {str(name): _figure(value) for name, value in self.content["figures"].items()}

    def short(self, key: str) -> str:
        """A figure's key without `val/<benchmark>/`."""
        return key.removeprefix(f"val/{self.name}/")

    @property
    def published(self) -> list[Mapping[str, Any]]:
        """What others have published."""
        return mappings(self.content.get("published"))

    @property
    def by_task(self) -> dict[str, Mapping[str, Any]]:
        """Task -> its rate first, then what belongs to it."""
        return {str(k): v for k, v in mapping(self.content.get("by_task")).items() if isinstance(v, dict)}


def number(value: Any) -> float | None:
    """A finite number, or None."""
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None


def mapping(value: Any) -> Mapping[Any, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """A list's objects."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def over_seeds(values: Sequence[float | None]) -> Figure:
    """Mean ± one sample standard deviation; of one value the value alone."""
    known = [value for value in values if value is not None]
    if not known:
        return Figure(None)
    mean = fmean(known)
    return Figure(mean, mean - stdev(known), mean + stdev(known)) if len(known) > 1 else Figure(mean)


def _figure(value: Any) -> Figure:
    if isinstance(value, dict):
        return Figure(number(value.get("value")), number(value.get("low")), number(value.get("high")))
    return Figure(number(value))  # a plain number, as an earlier version wrote


def _made(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, str(path)
    except OSError:
        return math.inf, str(path)
