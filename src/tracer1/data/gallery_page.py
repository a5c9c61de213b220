"""The HTML of a gallery: trajectories with their steps, everything in one file. It knows nothing about shards or sampling.

Whatever comes from the data is escaped; nothing is loaded from elsewhere, and the page says so to the browser.
"""

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from tracer1.data.records import Stored, to_steps
from tracer1.drawing import draw_action
from tracer1.errors import DataError
from tracer1.schema import Action, PlanStep, Step

HISTORY, HORIZON = 4, 10  # steps shown of what was before and of what follows, as a training shows them
MOST_STEPS = 60  # of a trajectory on the page
MOST_TEXT = 4000  # characters of a field


def page(trajectories: Sequence[Sequence[Stored]], title: str) -> str:
    """The whole page."""
    template = Template(files("tracer1.data").joinpath("gallery.html").read_text(encoding="utf-8"))
    sections = [_section(number, trajectory) for number, trajectory in enumerate(trajectories, 1)]
    links = [_link(number, trajectory) for number, trajectory in enumerate(trajectories, 1)]
    steps = sum(map(len, trajectories))
    return template.substitute(
        title=escape(title),
        counts=f"{len(trajectories)} trajector{'y' if len(trajectories) == 1 else 'ies'}, {steps} steps",
        links="".join(links),
        sections="".join(sections),
    )


def _link(number: int, trajectory: Sequence[Stored]) -> str:
    first = trajectory[0].record
    return (
        f'<li><a href="#t{number}">{escape(first["dataset"])}</a> <span class="quiet">{_counted(trajectory)}</span> '
        f"{escape(_short(first['instruction'], 110))}</li>"
    )


def _section(number: int, trajectory: Sequence[Stored]) -> str:
    first, steps = trajectory[0].record, to_steps(trajectory, HISTORY, HORIZON)
    facts = {"split": first["split"], "platform": first["platform"], "licence": first["meta"].get("licence")}
    chips = "".join(f'<span class="chip">{name} {_text(value)}</span>' for name, value in facts.items() if value)
    more = len(steps) - MOST_STEPS
    rest = f'<p class="quiet">{more} more steps are not shown.</p>' if more > 0 else ""
    shown = "".join(_step(f"t{number}s{step.index}", step, first["num_steps"]) for step in steps[:MOST_STEPS])
    return (
        f'<section id="t{number}"><h2>{_text(first["dataset"])} <small>{_text(first["trajectory"])}</small></h2>'
        f'<p class="goal">{_text(first["instruction"])}</p><p>{chips}</p>{shown}{rest}</section>'
    )


def _step(anchor: str, step: Step, count: int) -> str:
    now = step.future[0]
    kind = "" if now.action is None else now.action.action_type
    status = f'<span class="chip{" done" if now.status == "done" else ""}">{_text(now.status)}</span>'
    source = step.meta.get("abstraction_source")
    seen = f"{_text(now.screenshot_abstraction)} <span class='quiet'>{'' if source == 'none' else _text(source)}</span>"
    rows = {**_arguments(now.action), "boxes": _boxes(step)}
    if now.screenshot_abstraction:
        rows["seen"] = seen
    if step.platform == "tool":  # what its prompt shows instead of a screen
        rows |= {name: _text(step.meta.get(name) or "") for name in ("files", "observation")}
    table = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows.items() if value)
    return (
        f'<article id="{anchor}" tabindex="0" aria-label="Step {step.index + 1} of {count}: {_text(kind)}">'
        f"{_picture(step)}<div class='facts'><h3><span class='quiet'>{step.index + 1} / {count}</span> {_text(kind)} {status}</h3>"
        f"<p>{_text('' if now.action is None else now.action.step_instruction)}</p><dl>{table}</dl>"
        f"{_plan('History', step.history)}{_plan('Reference plan', step.future)}"
        f'<p class="quiet key">{_text(step.key)}</p></div></article>'
    )


def _picture(step: Step) -> str:
    if step.screenshot is None:
        return '<figure class="none"><p>no screenshot</p></figure>'
    try:
        image, scale = draw_action(step.screenshot, step.future[0].action, step.boxes)
    except DataError as error:
        return f'<figure class="none"><p>{_text(error)}</p></figure>'
    size = "" if step.image_size is None else f"{step.image_size[0]} × {step.image_size[1]}, "
    data = base64.b64encode(image).decode()
    return (
        f'<figure><img alt="Screenshot before step {step.index + 1}" src="data:image/webp;base64,{data}">'
        f"<figcaption>{size}scaled to {scale:.0%}</figcaption></figure>"
    )


def _arguments(action: Action | None) -> dict[str, str]:
    """The action's fields as rows of HTML."""
    if action is None:
        return {}
    rows = {name: getattr(action, name) for name in ("point", "end_point", "direction", "key", "app_name")}
    html = {name.replace("_", " "): _plain(value) for name, value in rows.items() if value is not None}
    if action.content is not None:
        html["content"] = f"<code>{_text(json.dumps(action.content, ensure_ascii=False))}</code>"
    if action.arguments is not None:
        html["arguments"] = f"<pre>{_text(json.dumps(dict(action.arguments), ensure_ascii=False, indent=1))}</pre>"
    if action.code is not None:
        html["code"] = f"<pre>{_text(action.code)}</pre>"
    return html


def _boxes(step: Step) -> str:
    return ", ".join(_plain(box) for box in step.boxes[:6]) + (
        f" and {len(step.boxes) - 6} more" * (len(step.boxes) > 6)
    )


def _plain(value: Any) -> str:
    """A place as `(512, 133)`, anything else as it is."""
    if isinstance(value, tuple):
        return f"({', '.join(f'{number:g}' for number in value)})"
    return _text(value)


def _plan(name: str, steps: Sequence[PlanStep]) -> str:
    if not steps:
        return f'<p class="quiet">{name}: none</p>'
    lines = "".join(
        f'<li value="{step.number}"><b>{_text(step.action.action_type)}</b> {_text(step.action.step_instruction)}'
        f"{' <span class=chip>done</span>' if step.status == 'done' else ''}</li>"
        for step in steps
        if step.action is not None
    )
    return f"<details open><summary>{name}: {_counted(steps)}</summary><ol>{lines}</ol></details>"


def _counted(steps: Sequence[Any]) -> str:
    return f"{len(steps)} step{'s' * (len(steps) != 1)}"


def _text(value: object) -> str:
    """Escaped, and cut where it is endless."""
    return escape(_short("" if value is None else str(value), MOST_TEXT))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text):,} characters)"
