"""Recorded episodes as one HTML page with its pictures inside, to look at in a browser. It knows nothing of who played them.

Whatever comes from the record is escaped; nothing is loaded from elsewhere, and the page says so to the browser.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from PIL import Image

from tracer1.drawing import draw_plan
from tracer1.errors import DataError
from tracer1.plan_act.reading import RecordedEpisode, RecordedTurn, Recording
from tracer1.plan_act.view import action_text
from tracer1.schema import DONE, Action, Plan, PlanStep

MOST_TEXT = 6000  # characters of a field
GOOD_ENDS = ("done", "ended")


def choose(recording: Recording, number: int | None) -> Sequence[RecordedEpisode]:
    """All episodes, or the one of that number (from 1).

    Raises:
        DataError: there is none.
    """
    episodes = recording.episodes
    if not episodes:
        raise DataError(f"{recording.path} holds no episode yet.")
    if number is None:
        return episodes
    if not 1 <= number <= len(episodes):
        raise DataError(f"{recording.path} holds episodes 1 to {len(episodes)}, not {number}.")
    return episodes[number - 1 : number]


def page(recording: Recording, episodes: Sequence[RecordedEpisode]) -> str:
    """The whole page."""
    template = Template(files("tracer1.plan_act").joinpath("page.html").read_text(encoding="utf-8"))
    policy = recording.settings.get("policy", "")
    turns = sum(len(episode.turns) for episode in episodes)
    return template.substitute(
        title=_text(f"{recording.path}" + (f", {policy}" if policy else "")),
        counts=f"{_counted(len(episodes), 'episode')}, {_counted(turns, 'step')}",
        table=_table(episodes),
        sections="".join(map(_section, episodes)),
    )


def _table(episodes: Sequence[RecordedEpisode]) -> str:
    if len(episodes) == 1:
        return ""
    rows = "".join(
        f'<tr><td class="number"><a href="#e{e.number + 1}">{e.number + 1}</a></td><td>{_text(e.job.task)}</td>'
        f'<td class="number">{e.job.seed}</td><td class="number">{_score(e)}</td><td class="number">{e.steps}</td>'
        f"<td>{_text(_end(e))}</td><td>{_text(e.instruction)}</td></tr>"
        for e in episodes
    )
    heads = (
        '<th class="number">#</th><th>task</th><th class="number">seed</th><th class="number">score</th>'
        '<th class="number">steps</th><th>end</th><th>instruction</th>'
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _section(episode: RecordedEpisode) -> str:
    lost = len(episode.turns) - episode.steps
    good = episode.score is not None and episode.score > 0
    chips = [
        _chip(f"score {_score(episode)}", "good" if good else "bad"),
        _chip(_end(episode), "" if episode.end in GOOD_ENDS else "bad"),
        _chip(_counted(episode.steps, "executed step")),
        _chip(f"{episode.retried} retried", "bad") if episode.retried else "",
        _chip(f"{lost} lost", "bad") if lost else "",
        _chip(f"attempt {episode.attempt + 1}", "bad") if episode.attempt else "",
        _chip(f"{episode.seconds:.1f} s"),
    ]
    fault = f'<p class="error">{_text(episode.fault)}</p>' if episode.fault else ""
    turns = "".join(_turn(episode, turn) for turn in [*episode.turns, *filter(None, [episode.broken])])
    return (
        f'<section id="e{episode.number + 1}"><h2>{_text(episode.job.task)} <small>seed {episode.job.seed}, episode '
        f'{episode.number + 1}</small></h2><p class="goal">{_text(episode.instruction)}</p><p>{"".join(chips)}</p>{fault}'
        f"{turns}{_last(episode)}</section>"
    )


def _turn(episode: RecordedEpisode, turn: RecordedTurn) -> str:
    one = turn.tries[-1]
    done = "nothing was done" if turn.action is None else action_text(turn.action)
    head = f"{turn.number} / {len(episode.turns)}"
    lost = f'<p class="error">{_text(one.error)}</p>' if turn.action is None else ""
    if turn is episode.broken:
        head, lost = f"{turn.number}", f'<p class="error">{_text(episode.fault)}</p>'
    planned = one.plan.steps[0].action if one.plan.steps else None
    moved = turn.action is not None and planned is not None and action_text(planned) != action_text(turn.action)
    grounded = f"<p class='quiet'>planned as {_text(action_text(planned))}</p>" if moved else ""
    instruction = "" if planned is None else f"<p>{_text(planned.step_instruction)}</p>"
    text = f"<h4>The environment says</h4><p>{_text(turn.text)}</p>" if turn.text else ""
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in turn.seconds.items())
    return (
        f'<article class="{"lost" if turn.action is None else ""}" tabindex="0" aria-label="Step {head}: {_text(done)}">'
        f"{_picture(turn.screenshot, _drawn(one.plan, turn.action), f'Screenshot of step {turn.number}', turn.shown)}"
        f"<div class='facts'><h3><span class='quiet'>{head}</span> {_text(done)}</h3>{instruction}{grounded}{lost}"
        f"{_thought(one.plan)}{text}{_plan(one.plan, turn.action is not None)}{_tries(turn)}"
        f'<p class="quiet">{seconds}</p></div></article>'
    )


def _drawn(plan: Plan, action: Action | None) -> Plan:
    """The plan as it is drawn: its first step where the executor really acted."""
    if action is None or not plan.steps:
        return plan
    return replace(plan, steps=(replace(plan.steps[0], action=action), *plan.steps[1:]))


def _thought(plan: Plan) -> str:
    return f"<h4>Thought</h4><p>{_text(plan.thought)}</p>" if plan.thought else ""


def _plan(plan: Plan, executed: bool) -> str:
    if not plan.steps:
        return ""
    items = "".join(
        f"<li{' class=now' if executed and not rank else ''}><span>{_step(step)}</span></li>"
        for rank, step in enumerate(plan.steps)
    )
    return f"<h4>Plan</h4><ol>{items}</ol>"


def _step(step: PlanStep) -> str:
    if step.action is None:
        return f'<span class="error">cannot be read: {_text(step.error)}</span>'
    done = _chip("done", "good") if step.status == DONE else ""
    seen = f" <span class='quiet'>({_text(step.screenshot_abstraction)})</span>" if step.screenshot_abstraction else ""
    problem = f' <span class="error">{_text(step.error)}</span>' if step.error else ""
    return f"<b>{_text(action_text(step.action))}</b> {done}<br>{_text(step.action.step_instruction)}{seen}{problem}"


def _tries(turn: RecordedTurn) -> str:
    """What was sampled in this turn, the plans that could not be acted upon first."""
    html = []
    for number, one in enumerate(turn.tries, 1):
        name = "response" if len(turn.tries) == 1 else f"response of attempt {number}"
        cut = " (cut by the token limit)" if one.truncated else ""
        error = f' <span class="error">{_text(one.error)}</span>' if one.error else ""
        html.append(f"<details><summary>{name}{cut}{error}</summary><pre>{_text(one.response)}</pre></details>")
    return "".join(html)


def _last(episode: RecordedEpisode) -> str:
    """What was seen when it was over."""
    if episode.last is None:
        return ""
    return (
        f'<article tabindex="0" aria-label="The end">{_picture(episode.last, Plan(), "Screenshot at the end", episode.last_shown)}'
        f"<div class='facts'><h3>{_text(_end(episode))}</h3><p>score {_score(episode)}</p></div></article>"
    )


def _picture(path: Path, plan: Plan, alt: str, shown: bool) -> str:
    try:
        drawing = Image.open(io.BytesIO(draw_plan(path.read_bytes(), plan)))
    except OSError as error:
        return f'<figure class="none"><p>{_text(path.name)} cannot be read: {_text(error.strerror)}</p></figure>'
    except DataError as error:
        return f'<figure class="none"><p>{_text(error)}</p></figure>'
    out = io.BytesIO()
    drawing.save(out, "WEBP", quality=85, method=4)  # a third of the PNG
    data = base64.b64encode(out.getvalue()).decode()
    caption = path.name if shown else f"{path.name}, which the planner does not see"
    return f'<figure><img alt="{escape(alt)}" src="data:image/webp;base64,{data}"><figcaption>{_text(caption)}</figcaption></figure>'


def _end(episode: RecordedEpisode) -> str:
    return episode.end or "cut off"


def _score(episode: RecordedEpisode) -> str:
    return "none" if episode.score is None else f"{episode.score:g}"


def _chip(text: str, kind: str = "") -> str:
    return f'<span class="chip {kind}">{_text(text)}</span>'


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _text(value: object) -> str:
    """Escaped, and cut where it is endless."""
    text = "" if value is None else str(value)
    return escape(text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} … ({len(text):,} characters)")
