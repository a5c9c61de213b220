"""Two kinds of plots, for pages and for files: curves with mean and spread over seeds, and figures with their intervals.

It knows nothing of runs, benchmarks or pages: numbers and labels in, a matplotlib figure out, which `inline_svg` turns into a part of an
HTML page (it follows the page's light or dark colours and says its values under the pointer, without a script) and `write_plot` into a
file. Labels may hold anything: they are plain text, never mathematics or markup.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracer1.tracking.over_seeds import Point, spread, thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each hex stands for one CSS variable of the page (`inline_svg`), so no two may be equal
INK, GRID = "#1b1f25", "#d5dae2"
COLOURS = ("#1f58b5", "#c2410d", "#00784b", "#7c3aad", "#96700a", "#0e7491", "#be185e", "#57534f")
VARIABLES = {INK: "--text", GRID: "--line", **{colour: f"--c{k}" for k, colour in enumerate(COLOURS)}}
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^v"
MOST_LABEL, MOST_AXIS = 48, 100  # characters
MOST_TICKS = 8  # of a logarithmic axis, one for each x
MANY, SHORT = 3, 24  # curves, characters of a label: with more, or longer ones, the legend stands below the plot
DPI = 72  # an SVG's unit is a point: hit areas need no other scale


@dataclass(frozen=True, slots=True)
class Curve:
    """One thing measured along x, once or by several seeds."""

    label: str
    seeds: Sequence[Sequence[Point]]  # the points of each seed; those that are not finite leave a gap
    marked: bool = False  # a marker at every point: for few, distant ones


@dataclass(frozen=True, slots=True)
class Interval:
    """One figure with its bounds, e.g. a 95 % interval or mean ± standard deviation."""

    label: str  # the row it stands in; several series may share a row
    value: float | None  # None or NaN: nothing counted
    low: float | None = None
    high: float | None = None
    series: str = ""
    published: bool = False  # somebody else's: a hollow mark, whatever its series


@dataclass(frozen=True, slots=True)
class Labels:
    """What a plot says of itself."""

    title: str
    x: str  # with its unit
    y: str = ""
    log_x: bool = False
    percent: bool = False  # values from 0 to 1 are written as percent
    limits: tuple[float, float] | None = None  # of the values; None: what they need


@dataclass
class Drawn:
    """A figure and where the pointer finds what."""

    figure: "Figure"
    title: str
    hits: list[tuple[Any, tuple[float, float, float, float], str]] = field(
        default_factory=list
    )  # axes, box in data, text


def draw_curves(curves: Sequence[Curve], labels: Labels, size: tuple[float, float] = (6.0, 3.2)) -> Drawn:
    """Curves over x. Of several seeds: each one thin, their mean thick, mean ± one sample standard deviation shaded.

    Args:
        curves: One colour and line style each. A curve without a finite point is left out.
        labels: What the axes say.
        size: Inches; a legend below the plot comes on top of it.
    """
    with plot_settings():
        known = [
            (rank, c) for rank, c in enumerate(curves) if any(math.isfinite(y) for seed in c.seeds for _, y in seed)
        ]
        below = len(known) > MANY or any(len(plain(curve.label)) > SHORT for _, curve in known)
        drawn, axes = _blank(labels, (size[0], size[1] + 0.17 * len(known) * below))
        shown: list[tuple[str, Sequence[Sequence[Point]]]] = []
        for rank, curve in known:
            seeds, width = thinned(curve.seeds)
            _curve(axes, rank, curve, seeds)
            shown.append((plain(curve.label) + (f" (means of {width} points)" if width > 1 else ""), seeds))
        axes.set_ylabel(plain(labels.y, MOST_AXIS))
        _finish(axes, labels, values="y")
        _ticks(axes, sorted({x for curve in curves for points in curve.seeds for x, _ in points}), labels.log_x)
        if known and below:
            drawn.figure.legend(frameon=False, fontsize=8, loc="outside lower left", labelspacing=0.2)
        elif known:
            axes.legend(frameon=False, fontsize=8)
        drawn.hits = [(axes, box, text) for box, text in _values_along(shown, labels)]
    return drawn


def draw_intervals(rows: Sequence[Interval], labels: Labels, width: float = 7.0) -> Drawn:
    """One mark a figure with a line from its lower to its upper bound, a row for each label, from above.

    Ours are full marks, one colour and shape a series; published ones are hollow, and dashed if they have bounds.

    Args:
        rows: In the order in which they are shown; what has no value is written as "–".
        labels: `x` says what the values are.
        width: Inches; the height follows from the rows.
    """
    names = list(dict.fromkeys(plain(row.label) for row in rows))
    together = {name: {row.series for row in rows if plain(row.label) == name} for name in names}
    series = list(dict.fromkeys(row.series for row in rows))
    with plot_settings():
        drawn, axes = _blank(labels, (width, 0.9 + 0.27 * max(len(names), 2) + 0.2 * (len(series) > 1)))
        for row in rows:
            rank = series.index(row.series)
            beside = [name for name in series if name in together[plain(row.label)]]
            shift = 0.0 if len(beside) == 1 else 0.5 * (beside.index(row.series) / (len(beside) - 1) - 0.5)
            y = names.index(plain(row.label)) + shift
            _interval(axes, y, row, rank)
            half = 0.2 if len(beside) == 1 else min(0.2, 0.25 / (len(beside) - 1))
            drawn.hits.append((axes, (-math.inf, math.inf, y - half, y + half), _said(row, labels)))
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        _finish(axes, labels, values="x")
        if any(series):
            _legend_of(axes, {row.series: row.published for row in rows})
    return drawn


def write_plot(drawn: Drawn, path: Path) -> Path:
    """Writes a picture; the ending says which kind (`.png`, `.svg`, `.pdf`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with plot_settings():
        drawn.figure.savefig(
            path, dpi=160, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None
        )
    return path


def plain(label: str, most: int = MOST_LABEL) -> str:
    """One short line without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(label)).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def written(value: float | None, percent: bool = False) -> str:
    """A value as people read it; "–" for none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f} %" if percent else f"{value:.4g}"


# --- parts --------------------------------------------------------------------------------------------------------------


@contextmanager
def plot_settings() -> Any:
    """What must hold while a figure is drawn and while it is written."""
    import matplotlib

    ours = {
        "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "tracer1", "font.size": 9, "axes.edgecolor": INK,
        "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.linewidth": 0.6,
    }  # fmt: skip
    with matplotlib.rc_context(ours):
        yield


def _blank(labels: Labels, size: tuple[float, float]) -> tuple[Drawn, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(plain(labels.title), loc="left", fontsize=10, fontweight="bold")
    return Drawn(figure, plain(labels.title)), axes


def _curve(axes: Any, rank: int, curve: Curve, seeds: Sequence[Sequence[Point]]) -> None:
    colour, style = COLOURS[rank % len(COLOURS)], STYLES[(rank + rank // len(COLOURS)) % len(STYLES)]
    over = spread(seeds)
    if over.count > 1:
        for points in seeds:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.6, alpha=0.45) if points else None
        axes.fill_between(over.x, over.mean - over.sd, over.mean + over.sd, color=colour, alpha=0.15, linewidth=0)
    marker = MARKERS[rank % len(MARKERS)] if curve.marked or len(over.x) == 1 else None
    label = plain(curve.label) + (f" ({over.count} seeds)" if over.count > 1 else "")
    axes.plot(over.x, over.mean, color=colour, linestyle=style, linewidth=1.6, marker=marker, markersize=4, label=label)


def _values_along(
    curves: Sequence[tuple[str, Sequence[Sequence[Point]]]], labels: Labels
) -> list[tuple[tuple[float, float, float, float], str]]:
    """What is said at each x of any curve about all of them, with the stretch of x where it is said."""
    tables = [[dict(points) for points in seeds if len(points)] for _, seeds in curves]
    own = [sorted({x for table in found for x in table}) for found in tables]
    every = sorted({x for xs in own for x in xs})
    known = list(zip([label for label, _ in curves], tables, own, strict=True))
    said = []
    for k, x in enumerate(every):
        left = (x + every[k - 1]) / 2 if k else x
        right = (x + every[k + 1]) / 2 if k + 1 < len(every) else x
        lines = [_value_at(x, *curve, labels.percent) for curve in known]
        text = "\n".join([f"{plain(labels.x)} {x:g}", *filter(None, lines)])
        said.append(((left, right, -math.inf, math.inf), text))
    return said


def _value_at(x: float, label: str, tables: Sequence[dict[float, float]], own: Sequence[float], percent: bool) -> str:
    """One curve's value at the nearest x that it has; nothing before its first and after its last."""
    if not own or not own[0] <= x <= own[-1]:
        return ""
    near = min(own[max(bisect_left(own, x) - 1, 0) : bisect_left(own, x) + 1], key=lambda other: abs(other - x))
    values = [table[near] for table in tables if near in table]
    mean = f"mean {written(float(np.mean(values)), percent)} of " if len(values) > 1 else ""
    at = "" if near == x else f" (at {near:g})"
    return f"{label}{at}: {mean}{', '.join(written(value, percent) for value in values)}"


def _interval(axes: Any, y: float, row: Interval, rank: int) -> None:
    if row.value is None or not math.isfinite(row.value):
        axes.text(0.01, y, "–", transform=axes.get_yaxis_transform(), va="center", color=INK)
        return
    mark = _mark(rank, row.published)
    if row.low is not None and row.high is not None and math.isfinite(row.low) and math.isfinite(row.high):
        style = ":" if row.published else "-"
        axes.plot([row.low, row.high], [y, y], color=mark["color"], linewidth=1.6, linestyle=style)
    axes.plot([row.value], [y], markersize=6, **mark)


def _said(row: Interval, labels: Labels) -> str:
    bounds = ""
    if row.low is not None and row.high is not None:
        bounds = f" ({written(row.low, labels.percent)} to {written(row.high, labels.percent)})"
    whose = "published" if row.published else plain(row.series)
    head = f"{plain(row.label)}, {whose}" if whose else plain(row.label)
    return f"{head}\n{written(row.value, labels.percent)}{bounds}"


def _legend_of(axes: Any, series: Mapping[str, bool]) -> None:
    """Beside the plot: what each mark is; `series` says of each whether it is published."""
    for rank, (name, published) in enumerate(series.items()):
        axes.plot([], [], label=plain(name), **_mark(rank, published))
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _mark(rank: int, published: bool) -> dict[str, Any]:
    colour = INK if published else COLOURS[rank % len(COLOURS)]
    shape = "o" if published else MARKERS[rank % len(MARKERS)]
    return {"marker": shape, "color": colour, "markerfacecolor": "none" if published else colour, "linestyle": "none"}


def _finish(axes: Any, labels: Labels, values: str) -> None:
    """Grid, limits, the label below, the notation of numbers."""
    from matplotlib.ticker import FuncFormatter

    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(plain(labels.x, MOST_AXIS))
    if labels.percent:
        shares = FuncFormatter(lambda value, _: f"{100 * value:.4g}%")  # PercentFormatter's 15.0% and 20.0% meet
        (axes.xaxis if values == "x" else axes.yaxis).set_major_formatter(shares)
    if labels.limits is not None:
        (axes.set_xlim if values == "x" else axes.set_ylim)(*labels.limits)


def _ticks(axes: Any, every: Sequence[float], log: bool) -> None:
    """Whole numbers where all x are whole; on a logarithmic axis the very x, where they are few."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: ""))
        if len(every) <= MOST_TICKS:
            axes.set_xticks(every)
            axes.minorticks_off()
    elif len(every) == 1:
        axes.set_xticks(every)
    elif all(float(x).is_integer() for x in every):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
