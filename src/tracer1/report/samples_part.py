"""A few rollouts and episodes with their pictures: what the figures stand for. It knows nothing of how they came about."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer1.drawing import draw_plan
from tracer1.errors import DataError
from tracer1.plan_act.page import GOOD_ENDS
from tracer1.plan_act.reading import RecordedEpisode, RecordedTurn, Recording, read_record
from tracer1.plan_act.view import action_text
from tracer1.report.figures import number
from tracer1.report.found import Found
from tracer1.report.groups import Group
from tracer1.report.markup import Html, badge, details, link, no_picture, picture, text

MARKS = "On the screenshots: red, the step that runs now; blue, later steps of the plan"
ROLLOUTS = 4  # shown of a table
TABLES = 6  # experiments of which rollouts are shown
EPISODES, TURNS = 3, 4  # shown of a record, of an episode
RECORDS = 6
MOST_RESPONSE = 700  # characters
MOST_TABLE = 30_000_000  # bytes


def rollouts(groups: Sequence[Group], page: Path, problems: list[str]) -> Html:
    """Of each experiment the last validation's best and worst rollouts, of its first seed."""
    parts = []
    for group in groups:
        tables = sorted((group.trainings[0].folder / "tables").glob("*-[0-9]*/table.json"), key=_round)
        rows = _table(tables[-1], problems) if tables else []
        if rows:
            folder = tables[-1].parent
            whole = link(folder / "page.html", page, "all of them")
            shown = "".join(_rollout(row, folder.parents[1]) for row in _ends(rows))
            said = f"{text(folder.name)}, seed {text(group.trainings[0].seed or '?')}"
            parts.append(f"<h3>{text(group.label)} <small>{said}, {whole}</small></h3><div class='cards'>{shown}</div>")
    left = (
        f"<p class='quiet'>{len(parts) - TABLES} more experiments have such tables.</p>" if len(parts) > TABLES else ""
    )
    said = f"<p class='quiet'>{MARKS}; green, the expert's target. Best and worst by reward.</p>" if parts else ""
    return Html(said + "".join(parts[:TABLES]) + left)


def _round(table: Path) -> tuple[int, str]:
    number_ = table.parent.name.rpartition("-")[2]
    return (int(number_) if number_.isdigit() else -1, str(table))


def _table(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The rows of `table.json` as objects."""
    try:
        if path.stat().st_size > MOST_TABLE:
            raise ValueError("too large")
        content = json.loads(path.read_bytes())
        return [dict(zip(content["columns"], row, strict=False)) for row in content["data"]]
    except OSError as error:
        problems.append(f"{path} cannot be read ({error.strerror}).")
    except (ValueError, LookupError, TypeError, RecursionError):
        problems.append(f"{path} is no table of rollouts: it was cut off, or comes from another version.")
    return []


def _ends(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The best and the worst by reward, best first."""
    scored = sorted((row for row in rows if number(row.get("reward")) is not None), key=lambda row: -row["reward"])
    rows = scored or list(rows)
    half = ROLLOUTS // 2
    return list(rows) if len(rows) <= ROLLOUTS else [*rows[:half], *rows[-half:]]


def _rollout(row: Mapping[str, Any], folder: Path) -> str:
    known = ("key", "instruction", "screenshot", "response", "reward", "error")
    terms = [
        badge(f"{name} {value:.3g}") for name, value in row.items() if name not in known and number(value) is not None
    ]
    reward = number(row.get("reward"))
    scored = badge(
        "not scored" if reward is None else f"reward {reward:.3f}",
        "good" if reward is not None and reward >= 0.5 else "bad",
    )
    error = f'<p class="error">{text(row["error"], 300)}</p>' if row.get("error") else ""
    response = details("response", f"<pre>{text(row.get('response'), MOST_RESPONSE)}</pre>")
    return (
        f"<article>{_drawn_before(row.get('screenshot'), folder)}<p>{text(row.get('instruction'), 300)}</p>"
        f"<p>{scored}{''.join(terms)}</p>{error}{response}</article>"
    )


def _drawn_before(cell: Any, folder: Path) -> str:
    """The picture that the training has drawn; a path that leaves the run's folder is not followed."""
    name = cell.get("filepath") if isinstance(cell, dict) else None
    if not isinstance(name, str):
        return no_picture("no screenshot")
    try:
        place = (folder / name).resolve()
        if not place.is_relative_to(folder.resolve()):
            return no_picture("a picture outside the run's folder")
        return picture(place.read_bytes(), "the plan on its screenshot")
    except (OSError, ValueError, DataError):
        return no_picture(f"{Path(name).name} cannot be shown")


def episodes(found: Found, page: Path) -> Html:
    """Of each record a few episodes that went well and badly, each with its first steps."""
    parts = []
    for path in found.records:
        try:
            recording = read_record(path)
        except DataError as error:
            found.problems.append(str(error))
            continue
        if recording.episodes and len(parts) < RECORDS:
            parts.append(_record(recording, found.name(path), page))
    left = len(found.records) - RECORDS
    said = f"<p class='quiet'>{MARKS}.</p>" if parts else ""
    return Html(
        said + "".join(parts) + (f"<p class='quiet'>{left} more records are not shown.</p>" if left > 0 else "")
    )


def _record(recording: Recording, name: str, page: Path) -> str:
    whole = recording.path.with_suffix(".html")
    more = (
        link(whole, page, "page of all episodes")
        if whole.exists()
        else Html(f"<code>python tools/show_episode.py {text(recording.path)} --out {text(whole)}</code>")
    )
    policy, played = text(recording.settings.get("policy", ""), 200), len(recording.episodes)
    good = sum((episode.score or 0) > 0 for episode in recording.episodes)
    cards = "".join(map(_episode, _chosen(recording.episodes)))
    said = f"{policy}; {played} episodes, {good} with a score above 0"
    return f"<h3>{text(name)} <small>{said}</small></h3><p class='quiet'>{more}</p>{cards}"


def _chosen(every: Sequence[RecordedEpisode]) -> list[RecordedEpisode]:
    """The best one, one that failed, one that met a fault; then others, in their order."""
    played = [episode for episode in every if episode.turns]
    best = max(played, key=lambda e: e.score or 0.0, default=None)
    failed = next((e for e in played if not e.fault and e.score is not None and e.score <= 0), None)
    faulted = next((e for e in played if e.fault), None)
    chosen = [e for k, e in enumerate((best, failed, faulted)) if e is not None and (k or (e.score or 0) > 0)]
    return [*chosen, *(e for e in played if e not in chosen)][:EPISODES]


def _episode(episode: RecordedEpisode) -> str:
    score = "no score" if episode.score is None else f"score {episode.score:g}"
    badges = badge(score, "good" if (episode.score or 0) > 0 else "bad") + badge(
        episode.end or "cut off", "" if episode.end in GOOD_ENDS else "bad"
    )
    fault = f'<p class="error">{text(episode.fault, 300)}</p>' if episode.fault else ""
    more = len(episode.turns) - TURNS
    rest = f"<p class='quiet'>{more} more step{'s' * (more > 1)}.</p>" if more > 0 else ""
    turns = "".join(_turns(episode))
    return (
        f"<section class='episode'><h4>{text(episode.job.task)} <small>seed {text(episode.job.seed)}</small> {badges}</h4>"
        f"<p>{text(episode.instruction, 300)}</p>{fault}<div class='cards'>{turns}</div>{rest}</section>"
    )


def _turns(episode: RecordedEpisode) -> Iterator[str]:
    for turn in episode.turns[:TURNS]:
        done = "nothing was done" if turn.action is None else action_text(turn.action)
        yield f"<article>{_drawn(turn)}<p><b>{turn.number}</b> {text(done, 200)}</p></article>"


def _drawn(turn: RecordedTurn) -> str:
    """The screenshot with the plan; its first step where the executor really acted."""
    plan = turn.tries[-1].plan if turn.tries else None
    if plan is not None and plan.steps and turn.action is not None:
        plan = replace(plan, steps=(replace(plan.steps[0], action=turn.action), *plan.steps[1:]))
    try:
        content = turn.screenshot.read_bytes()
        return picture(content if plan is None else draw_plan(content, plan), f"Screenshot of step {turn.number}")
    except (OSError, DataError):
        return no_picture(f"{turn.screenshot.name} cannot be shown")
