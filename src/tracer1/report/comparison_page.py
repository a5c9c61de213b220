"""A comparison as text for a terminal, as one HTML page, and as a picture for each figure. It computes nothing."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracer1.data.page_file import write_page
from tracer1.errors import DataError
from tracer1.report.comparison import Comparison, Difference, Row, Value, direction
from tracer1.report.markup import Html, badge, bullets, details, table, text
from tracer1.report.page import made_by, whole_page
from tracer1.report.training_part import curve_plot, curves, what_was_run
from tracer1.report.trainings import Training
from tracer1.tracking.metric_names import METRICS
from tracer1.tracking.plots import write_plot

ON_THE_PAGE_ONLY = ("system/", "time/", "data/", "optim/")  # of the figures: about machines and schedules
MOST_CELL = 44  # characters of a cell on the screen
SAID = (
    "± is the sample standard deviation over seeds. * marks a difference from the first whose 95 % interval leaves out zero (Student's t; "
    "equal seeds are compared pair by pair). Of twenty figures without any difference one is expected to be marked."
)
ONE_SEED = "No side has two seeds, so that no difference can be told from noise: run more seeds (seed=1,2,3)."


def as_text(found: Comparison) -> str:
    """What differs, for a terminal."""
    heads = [side.label for side in found.sides]
    seeds = [", ".join(side.seeds) for side in found.sides]
    parts = [_aligned([["runs", *heads], ["seeds", *seeds]])]
    for title, rows in (("settings", found.settings), ("data", found.data), ("code", found.code)):
        if rows:
            parts.append(_aligned([[title, *heads], *([name, *map(_short, values)] for name, values in rows.items())]))
    if not found.settings:
        parts.append("The settings are the same, but for the seed and for what belongs to the machine.")
    shown = [row for row in found.rows if not row.metric.startswith(ON_THE_PAGE_ONLY)]
    parts.append(_aligned([["figure", *heads], *([_title(row), *_cells(row)] for row in shown)]))
    parts.append(SAID if any(_known(row) for row in found.rows) else ONE_SEED)
    return "\n\n".join(parts)


def write_comparison(found: Comparison, names: Mapping[Training, str], out: Path) -> tuple[Path, int]:
    """Writes `comparison.html` and `curves/*.svg` into a folder.

    Args:
        found: What to say.
        names: How each run is called: where it was recorded, and as what.
        out: The folder; made if need be.

    Returns:
        The page and how many pictures there are.

    Raises:
        DataError: a file cannot be written.
    """
    page = out / "comparison.html"
    write_page(as_page(found, names), page)
    written = 0
    try:
        for metric in dict.fromkeys(row.metric for row in found.rows):
            drawn = curve_plot(metric, found.sides)
            if drawn is not None:
                write_plot(drawn, out / "curves" / f"{metric.replace('/', '.')}.svg")
                written += 1
    except OSError as error:
        raise DataError(f"{out / 'curves'} cannot be written ({error.strerror}). Choose another --out.") from error
    return page, written


def as_page(found: Comparison, names: Mapping[Training, str]) -> str:
    """The whole page."""
    heads = ["", *(side.label for side in found.sides)]
    differing = [
        Html(f"<h3>{title}</h3>{table(heads, [(name, *values) for name, values in rows.items()], numbers=False)}")
        for title, rows in (
            ("Settings", found.settings),
            ("Data (digest of the shards)", found.data),
            ("Code", found.code),
        )
        if rows
    ]
    same = (
        ""
        if found.settings
        else "<p>The settings are the same, but for the seed and for what belongs to the machine.</p>"
    )
    main = [row for row in found.rows if not row.metric.startswith(ON_THE_PAGE_ONLY)]
    rest = [row for row in found.rows if row.metric.startswith(ON_THE_PAGE_ONLY)]
    said = SAID.replace("* marks", "A frame marks") if any(_known(row) for row in found.rows) else ONE_SEED
    problems = [f"{names[t]}: {problem}" for side in found.sides for t in side.trainings for problem in t.problems]
    others = details(f"Machine and schedule ({len(rest)})", _figures(heads, rest)) if rest else ""
    parts = {
        "What differs": Html(same + "".join(differing)),
        "Figures": Html(f"<p class='quiet'>{text(said)}</p>{_figures(heads, main)}{others}"),
        "Curves": curves(found.sides),
        "Runs": what_was_run(found.sides, names),
        "Damaged or left out": bullets(problems),
    }
    count = sum(len(side.trainings) for side in found.sides)
    about = f"{count} runs on {len(found.sides)} sides; runs that differ by the seed alone are one side. {made_by()}"
    return whole_page(" · ".join(side.label for side in found.sides), about, parts)


def _figures(heads: Sequence[str], rows: Sequence[Row]) -> Html:
    body = [
        (
            Html(f'<span title="{text(_explained(row.metric))}">{text(_title(row))}</span>'),
            *(
                Html(f"{text(_value(value))}{_badge(row.metric, against)}")
                for value, against in zip(row.values, row.differences, strict=True)
            ),
        )
        for row in rows
    ]
    return table(heads, body)


def _badge(metric: str, against: Difference | None) -> str:
    if against is None:
        return ""
    said, gain = f"{against.value:+.3g}", against.value * direction(metric)
    kind = "good" if gain > 0 else "bad" if gain < 0 else ""
    return f" {badge(said, kind) if against.beyond else f'<small>{text(said)}</small>'}"


def _explained(metric: str) -> str:
    return METRICS.get(metric, "")


def _title(row: Row) -> str:
    return row.metric if row.kind == "last" else f"{row.metric}, best"


def _known(row: Row) -> bool:
    return any(against is not None and against.beyond is not None for against in row.differences)


def _cells(row: Row) -> list[str]:
    cells = []
    for value, against in zip(row.values, row.differences, strict=True):
        mark = "" if against is None else f"  {against.value:+.3g}{' *' if against.beyond else ''}"
        cells.append(_value(value) + mark)
    return cells


def _value(value: Value) -> str:
    if not value.by_seed:
        return "–"
    spread = "" if math.isnan(value.sd) else f" ± {value.sd:.2g}"
    return f"{value.mean:.4g}{spread}"


def _short(value: str) -> str:
    return value if len(value) <= MOST_CELL else f"{value[: MOST_CELL - 1]}…"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns under one another; the first row is underlined."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
