"""Studies as tables, as verdicts on the paper's claims, and as pictures. It knows the figures that MLflow has, not where they come from.

Spreads are sample standard deviations over seeds. A claim that one value is better than another is judged on the differences of equal
seeds: it is reproduced, or contradicted, where the 95 % interval of their mean (Student's t) lies on one side of zero, and not decidable
otherwise.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from tracer1.errors import ConfigError
from tracer1.tracking.over_seeds import t_95
from tracer1.tracking.plots import Curve, Drawn, Interval, Labels, draw_curves, draw_intervals
from tracer1.tracking.studies import StudyRuns

NAMES = {
    "val/miniwob/raw_reward_1.success": "MiniWoB++ success",
    "val/heldout/step_success": "step success",
    "val/heldout/click_accuracy": "click accuracy",
    "val/heldout/type_match": "type match",
    "val/heldout/reward_coordinate_match": "coordinate match",
    "val/heldout/trajectory_reward": "trajectory reward",
    "val/heldout/repeating": "repeating plans",
    "val/heldout/repeating_more": "... more than the expert",
    "val/heldout/plan_length": "planned steps",
}
_DRAWN = 2  # metrics in a picture: the first ones of the study that are shares
_COUNTS = ("plan_length",)  # metrics that are none


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the seeds say about `better > worse`."""

    text: str  # the claim as the study has it
    difference: float
    half_width: float  # of its 95 % interval; NaN of one seed
    seeds: int

    @property
    def answer(self) -> str:
        """In a word or two."""
        if not abs(self.difference) > self.half_width > 1e-9:  # equal differences do not tell their spread
            return "not decidable here"
        return "yes" if self.difference > 0 else "no"


def values_of(runs: StudyRuns) -> list[str]:
    """The study's values: numbers by size, others in the order of its labels and then of their names."""
    found = {job.value for job in runs.jobs}
    labels = list(labels_of(runs))
    if all(_number(value) is not None for value in found):
        return sorted(found, key=float)
    return sorted(found, key=lambda value: (labels.index(value) if value in labels else len(labels), value))


def labels_of(runs: StudyRuns) -> Mapping[str, str]:
    """What some values are called."""
    return json.loads(runs.about.get("labels") or "{}")


def metrics_of(runs: StudyRuns) -> list[str]:
    """The metrics that the study shows."""
    return runs.about.get("metrics", "").split()


def by_seed(runs: StudyRuns, value: str, metric: str) -> dict[int, float]:
    """Seed -> figure."""
    return {job.seed: job.figures[metric] for job in runs.jobs if job.value == value and metric in job.figures}


def verdicts(runs: StudyRuns) -> list[Verdict]:
    """One for each claim of the study, where at least one seed has both sides.

    Raises:
        ConfigError: a claim that cannot be read.
    """
    found = []
    for text in filter(None, runs.about.get("expect", "").split("\n")):
        said = re.fullmatch(r"(\S+) > ([^\s:]+)(?:: (\S+))?", text.strip())
        if said is None:
            raise ConfigError(
                f"Study {runs.name!r} expects {text!r}; write it as `better > worse` or `better > worse: metric`."
            )
        metric = said[3] or metrics_of(runs)[0]
        better, worse = by_seed(runs, said[1], metric), by_seed(runs, said[2], metric)
        differences = [better[seed] - worse[seed] for seed in better if seed in worse]
        if differences:
            labels = labels_of(runs)
            claim = f"{labels.get(said[1], said[1])} > {labels.get(said[2], said[2])} ({_name(metric)})"
            found.append(_verdict(claim, differences))
    return found


def markdown(runs: StudyRuns) -> str:
    """The study's table and its verdicts."""
    metrics, labels = metrics_of(runs), labels_of(runs)
    rows = [f"| {runs.variable} | {' | '.join(map(_name, metrics))} | seeds |", "|---" * (len(metrics) + 2) + "|"]
    for value in values_of(runs):
        columns = [by_seed(runs, value, metric) for metric in metrics]
        seeds = max(map(len, columns), default=0)
        cells = (cell(list(column.values())) for column in columns)
        rows.append(f"| {labels.get(value, value)} | {' | '.join(cells)} | {seeds} |")
    rows += ["", "| claim | mean difference (95 % interval) | in small |", "|---|---|---|"]
    for verdict in verdicts(runs):
        width = "" if math.isnan(verdict.half_width) else f" ± {verdict.half_width:.3f}"
        rows.append(f"| {verdict.text} | {verdict.difference:+.3f}{width} ({verdict.seeds} seeds) | {verdict.answer} |")
    return "\n".join(rows)


def cell(values: Sequence[float]) -> str:
    """Mean and spread, or a dash."""
    if not values:
        return "–"
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def draw(runs: StudyRuns) -> Drawn:
    """Curves along a variable that is a number, marks with intervals otherwise."""
    metrics = [metric for metric in metrics_of(runs) if not metric.endswith(_COUNTS)][:_DRAWN]
    values, labels = values_of(runs), labels_of(runs)
    count = len({job.seed for job in runs.jobs})
    title = f"Study {runs.name}: mean and spread of {count} seeds"
    if not labels and all(_number(value) is not None for value in values):
        curves = [Curve(_name(metric), _curves(runs, metric), marked=True) for metric in metrics]
        wide = float(values[-1]) >= 10 * max(float(values[0]), 1e-9)
        return draw_curves(
            curves,
            Labels(title, runs.variable, _name(metrics[0]) if len(metrics) == 1 else "share", log_x=wide, percent=True),
        )
    rows = []
    for value in values:
        for metric in metrics:
            figures = list(by_seed(runs, value, metric).values())
            mean = fmean(figures) if figures else None
            spread = stdev(figures) if len(figures) > 1 else math.nan
            low, high = (None, None) if mean is None else (mean - spread, mean + spread)
            rows.append(Interval(labels.get(value, value), mean, low, high, _name(metric)))
    return draw_intervals(rows, Labels(title, "share, mean ± sample standard deviation", percent=True))


def picture_path(out: Path, study: str, alone: bool) -> Path:
    """Where a study's picture goes.

    Raises:
        ConfigError: one file for several studies, or a kind of file that no picture is.
    """
    if not out.suffix:
        return out / f"ablation_{study}.svg"
    if not alone:
        raise ConfigError(f"--out {out} is one picture, and there are several studies: give a folder.")
    if out.suffix not in (".svg", ".png", ".pdf"):
        raise ConfigError(f"--out {out} is no picture: it must end in .svg, .png or .pdf.")
    return out


def fill(page: Path, blocks: Mapping[str, str]) -> int:
    """Replaces what stands between `<!-- study NAME -->` and `<!-- end -->` in a page.

    Returns:
        How many blocks were filled.

    Raises:
        ConfigError: there is no such page.
    """
    if not page.is_file():
        raise ConfigError(f"There is no page {page} to fill in.")
    filled, text = 0, page.read_text(encoding="utf-8")
    for name, block in blocks.items():
        pattern = rf"(<!-- study {re.escape(name)} -->\n).*?(<!-- end -->)"
        text, times = re.subn(pattern, lambda m, block=block: f"{m[1]}{block}\n{m[2]}", text, flags=re.DOTALL)
        filled += times
    page.write_text(text, encoding="utf-8")
    return filled


def _verdict(claim: str, differences: Sequence[float]) -> Verdict:
    n = len(differences)
    t = t_95(n - 1)
    half = t * stdev(differences) / math.sqrt(n) if n > 1 else math.nan
    return Verdict(claim, fmean(differences), half, n)


def _curves(runs: StudyRuns, metric: str) -> list[list[tuple[float, float]]]:
    seeds = sorted({job.seed for job in runs.jobs})
    points = [(float(value), by_seed(runs, value, metric)) for value in values_of(runs)]
    return [[(x, figures[seed]) for x, figures in points if seed in figures] for seed in seeds]


def _name(metric: str) -> str:
    return NAMES.get(metric, metric.removeprefix("val/"))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
