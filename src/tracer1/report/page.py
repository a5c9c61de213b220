"""The whole page. It knows the order of the parts, and what was left out or went wrong."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from string import Template

from tracer1.report.figures import Benchmark, evaluations, mapping, mappings
from tracer1.report.found import Found, find
from tracer1.report.groups import Group, chain, grouped, parent
from tracer1.report.markup import Html, bullets, text
from tracer1.report.results_part import Runs, benchmark_section, beside_published, evaluation_figures, labelled
from tracer1.report.samples_part import episodes, rollouts
from tracer1.report.training_part import curves, what_was_run
from tracer1.report.trainings import Training, read_training
from tracer1.tracking.inline_svg import PALETTE

MOST_FAULTS = 20  # of a benchmark, named one by one


def report(paths: Sequence[Path], page: Path) -> str:
    """The page about everything in or below some folders.

    Args:
        paths: Folders of runs, or files.
        page: Where it will lie: links are relative to it.

    Raises:
        DataError: there is nothing.
    """
    found = find(paths)
    trainings = [read_training(folder) for folder in found.trainings]
    parts = _parts(found, grouped(trainings), page)
    return whole_page(", ".join(map(str, paths)), f"{_counts(found)} {made_by()}", parts)


def whole_page(title: str, about: str, parts: Mapping[str, Html]) -> str:
    """A page of parts, each with its title and a link at the top; what is empty is left out."""
    shown = {title: content for title, content in parts.items() if content}
    template = Template(files("tracer1.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=text(title),
        palette=PALETTE,
        counts=text(about),
        links="".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in shown),
        parts="".join(
            f'<section id="{_anchor(title)}"><h2>{title}</h2>{content}</section>' for title, content in shown.items()
        ),
    )


def _parts(found: Found, groups: Sequence[Group], page: Path) -> dict[str, Html]:
    """Title -> content, in order; what is empty is left out."""
    every = [training for group in groups for training in group.trainings]

    def rank(policy: str) -> int:
        made = parent(policy, every)
        return 0 if made is None else len(chain(made, every))

    def who(policy: str) -> str:
        made = parent(policy, every)
        return "/".join(part for part in Path(policy).parts[-2:] if part != os.sep) if made is None else made.name

    kinds = evaluations(found, rank)
    runs = labelled([Benchmark(r.path, r.content, found.name(r.path)) for r in found.benchmarks], who, rank)
    names = {training: found.name(training.folder) for training in every}
    parts = {
        "What was run": what_was_run(groups, names) if groups else Html(""),
        "Training": curves(groups),
        "Evaluations on held-out steps": evaluation_figures(kinds, who) if kinds else Html(""),
        "Benchmarks": Html("".join(benchmark_section(name, same, page) for name, same in runs.items())),
        "Sample rollouts": rollouts(groups, page, found.problems),
        "Sample episodes": episodes(found, page),
    }
    parts["Left out, faulted, damaged"] = _left_out(found, names, runs)
    parts["Ours beside published figures"] = beside_published(runs) if runs else Html("")
    return parts


def _left_out(found: Found, names: Mapping[Training, str], runs: Runs) -> Html:
    lines = [f"{name}: {problem}" for training, name in names.items() for problem in training.problems]
    lines += [
        f"{name}: not finished, it has written no policy." for training, name in names.items() if not training.finished
    ]
    for name, same in runs.items():
        said: dict[str, list[str]] = {}  # what several runs have in common is said once
        for label, one in same:
            for line in _missing(one):
                said.setdefault(line, []).append(label)
        lines += [f"{name}, {_where(labels, len(same))}: {line}" for line, labels in said.items()]
    return Html(bullets(lines + found.problems) or "<p>Nothing.</p>")


def _where(labels: Sequence[str], count: int) -> str:
    return f"all {count} runs" if len(labels) == count > 1 else "; ".join(labels)


def _missing(one: Benchmark) -> list[str]:
    """What a benchmark did not score, with the reasons."""
    lines = []
    for kind in ("excluded", "refused"):
        why: dict[str, list[str]] = {}
        for task, reason in mapping(one.content.get(kind)).items():
            why.setdefault(str(reason), []).append(str(task))
        lines += [
            f"{len(tasks)} {kind} ({', '.join(tasks[:8])}{', …' * (len(tasks) > 8)}): {reason}"
            for reason, tasks in why.items()
        ]
    faults = mappings(one.content.get("faults"))
    lines += [f"fault in {f.get('task')}, seed {f.get('seed')}: {f.get('fault')}" for f in faults[:MOST_FAULTS]]
    if len(faults) > MOST_FAULTS:
        lines.append(f"{len(faults) - MOST_FAULTS} more faults")
    counts = mapping(one.content.get("counts"))
    told = {"infra_errors": "steps that a fault of the infrastructure kept from being judged", "too_long": "prompts too long",
            "unreadable": "answers that cannot be read, which count as wrong"}  # fmt: skip
    return lines + [f"{counts[key]} {said}" for key, said in told.items() if counts.get(key)]


def _counts(found: Found) -> str:
    kinds = (
        (found.trainings, "training", "trainings"),
        (found.evaluations, "evaluation", "evaluations"),
        (found.benchmarks, "benchmark result", "benchmark results"),
        (found.records, "record of episodes", "records of episodes"),
    )
    counted = [f"{len(those)} {one if len(those) == 1 else many}" for those, one, many in kinds if those]
    return ", ".join(counted) + "."


def made_by() -> str:
    """The program, its version and the time."""
    try:
        made = f"tracer1 {version('tracer1')}"
    except PackageNotFoundError:
        made = "tracer1"
    return f"Made by {made} on {datetime.now():%Y-%m-%d %H:%M}."


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")
