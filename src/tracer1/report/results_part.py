"""Evaluations and benchmarks on the page, and the table at the end: ours beside what others have published, never mixed.

It knows nothing of files and of how figures were computed.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tracer1.report.figures import Benchmark, Evaluations, Figure, mapping, number, over_seeds
from tracer1.report.groups import seed_part, without_seed
from tracer1.report.markup import Cell, Html, badge, bullets, details, link, table, text
from tracer1.tracking.inline_svg import inline_svg
from tracer1.tracking.plots import Interval, Labels, draw_intervals, written
from tracer1.training.duration import duration

FACTS = {
    "policy": "policy", "steps": "steps", "episodes": "episodes", "tasks": "tasks", "seeds": "seeds", "first_seed": "first seed",
    "max_steps": "steps of an episode, at most", "history": "history K, steps", "point": "whose point is scored",
}  # fmt: skip
MOST_FACT = 200  # characters
Who = Callable[[str], str]  # a policy's path -> what it is called on the page
Runs = Mapping[str, Sequence[tuple[str, Benchmark]]]  # a benchmark's name -> its runs with their labels


def evaluation_figures(kinds: Sequence[Evaluations], who: Who) -> Html:
    """All figures, evaluations side by side, and those between 0 and 1 as a plot."""
    heads: list[Cell] = ["figure"]
    for kind in kinds:
        seeds = f"{len(kind.reports)} seeds, " if len(kind.reports) > 1 else ""
        names = ", ".join(dict.fromkeys(map(who, kind.policies)))
        heads.append(
            Html(f"{text(kind.label)}<br><span class='quiet'>{text(names)}; {seeds}{text(kind.steps)} steps</span>")
        )
    names = list(dict.fromkeys(name for kind in kinds for name in kind.names()))
    rows = [(name.removeprefix("val/"), *(_plain(kind.figure(name)) for kind in kinds)) for name in names]
    plotted = [
        Interval(name.removeprefix("val/"), *kind.figure(name), series=kind.label)
        for name in _shares(kinds, names)
        for kind in kinds
    ]
    spread = ", mean ± sample standard deviation of the seeds" if any(len(kind.reports) > 1 for kind in kinds) else ""
    labels = Labels("Held-out steps", f"0 to 1{spread}", limits=(-0.02, 1.02))
    plot = inline_svg(draw_intervals(plotted, labels)) if plotted else ""
    return Html(f"{table(heads, rows)}{plot}")


def _shares(kinds: Sequence[Evaluations], names: Sequence[str]) -> list[str]:
    """Figures whose values all lie between 0 and 1; counts do not belong into the plot."""
    values = {name: [f.value for kind in kinds if (f := kind.figure(name)).value is not None] for name in names}
    return [
        name for name, v in values.items() if v and all(0 <= x <= 1 for x in v) and not name.endswith("infra_errors")
    ]


def _plain(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    spread = "" if figure.low is None else f" ± {figure.value - figure.low:.3f}"
    return f"{figure.value:.3f}{spread}"


def labelled(benchmarks: Sequence[Benchmark], who: Who, rank: Callable[[str], int]) -> Runs:
    """Benchmark's name -> its runs, each with a label: the policy's name, and where that is not enough the seed or the place.

    Args:
        benchmarks: All of them.
        who: Names a policy.
        rank: How far down the chain of trainings a policy was made: the first ones stand first.
    """
    found: dict[str, list[tuple[str, Benchmark]]] = {}
    for one in sorted(benchmarks, key=lambda one: (rank(one.policy), one.policy, one.place)):
        same = [other for other in benchmarks if other.name == one.name and who(other.policy) == who(one.policy)]
        policy, place = who(one.policy) or "ours", Path(one.place)
        seed = seed_part(place)
        by_seed = seed and len({seed_part(Path(other.place)) for other in same}) == len(same)
        told_apart = "" if len(same) == 1 else f", {seed}" if by_seed else f" ({place.parent})"
        found.setdefault(one.name, []).append((policy + told_apart, one))
    return found


def benchmark_section(name: str, runs: Sequence[tuple[str, Benchmark]], page: Path) -> Html:
    """Figures with their intervals, what they were computed from, the plot, success by task."""
    rules = {k: v for _, one in runs for k, v in mapping(one.content.get("rules")).items()}
    said = bullets([f"{rule}: {v}" for rule, v in rules.items() if v])
    intervals = [
        *(Interval(label, *one.figures.get(one.headline, Figure(None)), series="ours") for label, one in runs),
        *(
            Interval(_agent(p), number(p.get("value")), series="published", published=True)
            for p in _published(runs)
            if _is_headline(p)
        ),
    ]
    head = runs[0][1].short(runs[0][1].headline)
    labels = Labels(f"{name}: {head}", "percent; ours with 95 % intervals", percent=True)
    return Html(
        f"<h3>{text(name)}</h3>{said}{_figures(runs)}{inline_svg(draw_intervals(intervals, labels))}"
        f"{_by_task(runs)}{_facts(runs, page)}"
    )


def _figures(runs: Sequence[tuple[str, Benchmark]]) -> Html:
    keys = list(dict.fromkeys(key for _, one in runs for key in one.figures))
    heads = {one.headline for _, one in runs}
    rows: list[list[Cell]] = []
    for key in keys:
        name = runs[0][1].short(key)
        cells = [percent(one.figures.get(key, Figure(None))) for _, one in runs]
        rows.append([Html(f"<b>{text(name)}</b>") if key in heads else name, *cells])
    return table(("figure", *(label for label, _ in runs)), rows)


def percent(figure: Figure) -> str:
    """`61.2 % (55.0 to 67.1)`."""
    if figure.value is None or figure.low is None or figure.high is None:
        return written(figure.value, percent=True)
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _by_task(runs: Sequence[tuple[str, Benchmark]]) -> Html:
    tasks = list(dict.fromkeys(task for _, one in runs for task in one.by_task))
    if not tasks:
        return Html("")
    rows = [(task, *(_rate(one.by_task.get(task)) for _, one in runs)) for task in sorted(tasks)]
    heads = ("task", *(label for label, _ in runs))
    about = "Of so many episodes; those that met a fault are left out of the rate."
    columns = table(heads, rows, kind="tasks")
    return details(f"By type of task ({len(tasks)})", f"<p class='quiet'>{about}</p>{columns}", opened=len(tasks) <= 40)


def _rate(row: Mapping[str, Any] | None) -> Cell:
    if row is None:
        return Html('<span class="quiet">not played</span>')
    rate = number(next(iter(row.values()), None))
    faults = number(row.get("faults")) or 0
    episodes = number(row.get("episodes"))
    of = (
        ""
        if episodes is None
        else f" <span class='quiet'>of {episodes:g}{f', {faults:g} fault{(faults != 1) * chr(115)}' if faults else ''}</span>"
    )
    bar = (
        ""
        if rate is None
        else f'<span class="bar" style="width: {escape(f"{min(max(rate, 0), 1) * 4:.2f}")}rem"></span>'
    )
    return Html(f"{bar}{'–' if rate is None else f'{100 * rate:.1f} %'}{of}")


def _facts(runs: Sequence[tuple[str, Benchmark]], page: Path) -> Html:
    rows: list[list[Cell]] = []
    for key, said in FACTS.items():
        values = [one.content.get(key) for _, one in runs]
        if any(value not in (None, "") for value in values):
            rows.append([said, *(text("" if value is None else value, MOST_FACT) for value in values)])
    for key in dict.fromkeys(
        k for _, one in runs for part in ("counts", "means") for k in mapping(one.content.get(part))
    ):
        values = [
            {**mapping(one.content.get("counts")), **mapping(one.content.get("means"))}.get(key) for _, one in runs
        ]
        rows.append([key.replace("_", " "), *(_count(value) for value in values)])
    seconds = [number(one.content.get("wall_s")) for _, one in runs]
    if any(value is not None for value in seconds):
        rows.append(["took", *("" if value is None else duration(value) for value in seconds)])
    rows.append(["file", *(link(one.path, page, one.place) for _, one in runs)])
    return details("How they were computed", table(("", *(label for label, _ in runs)), rows, numbers=False))


def _count(value: Any) -> str:
    return "" if value is None else f"{value:g}" if number(value) is not None else str(value)


def _published(runs: Sequence[tuple[str, Benchmark]]) -> list[Mapping[str, Any]]:
    """Each once, whichever runs name it."""
    every = [p for _, one in runs for p in one.published]
    return list(
        {
            (str(p.get("agent")), str(p.get("source")), str(p.get("what")), str(p.get("value"))): p for p in every
        }.values()
    )


def _is_headline(published: Mapping[str, Any]) -> bool:
    return published.get("what") in (None, "", "headline")


def _agent(published: Mapping[str, Any]) -> str:
    return str(published.get("agent") or "?")


def beside_published(benchmarks: Runs) -> Html:
    """The table at the end. A row is ours or published, and says so; published ones name their source."""
    body = []
    for name, runs in benchmarks.items():
        body.append(f'<tr class="head"><th colspan="5">{text(name)}</th></tr>')
        for label, one in runs:
            value = percent(one.figures.get(one.headline, Figure(None)))
            body.append(_row("ours", label, value, one.short(one.headline), one.place))
        body += _means(runs)
        for p in _published(runs):
            what = "headline" if _is_headline(p) else str(p.get("what"))
            source = str(p.get("source") or "source not named")
            body.append(_row("published", _agent(p), percent(Figure(number(p.get("value")))), what, source))
    heads = "<th></th><th>agent</th><th class='number'>value (95 % interval)</th><th>figure</th><th>from</th>"
    rows = "".join(body)
    return Html(
        f'<div class="wide"><table class="beside"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _means(runs: Sequence[tuple[str, Benchmark]]) -> list[str]:
    """A row for each set of runs whose places differ by a seed alone."""
    kinds: dict[str, list[tuple[str, Benchmark]]] = {}
    for label, one in runs:
        kinds.setdefault(without_seed(Path(one.place)), []).append((label, one))
    rows = []
    for place, same in kinds.items():
        figure = over_seeds([one.figures.get(one.headline, Figure(None)).value for _, one in same])
        if len(same) > 1 and figure.value is not None:
            spread = "" if figure.low is None else f" ± {100 * (figure.value - figure.low):.1f}"
            who = f"{same[0][0].partition(', ')[0]}: mean ± sample standard deviation of {len(same)} seeds"
            rows.append(
                _row("ours", who, f"{100 * figure.value:.1f} %{spread}", same[0][1].short(same[0][1].headline), place)
            )
    return rows


def _row(kind: str, agent: str, value: str, what: str, source: str) -> str:
    cells = f"<td>{badge(kind, kind)}</td><td>{text(agent)}</td><td class='number'>{text(value)}</td>"
    return f'<tr class="{kind}">{cells}<td>{text(what)}</td><td>{text(source)}</td></tr>'
