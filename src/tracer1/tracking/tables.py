"""The table of a validation's rollouts: a page for people, a table for MLflow. It knows nothing about how they came about.

`tables/<name>-<round>/` in the run's folder gets `page.html` (one file with its images inside), `table.json` (the layout
that MLflow's pages show as a table) and a PNG per row.
"""

import base64
import json
import logging
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Protocol

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from tracer1.drawing import draw_plan
from tracer1.errors import DataError
from tracer1.schema import PlanStep, Rollout

log = logging.getLogger(__name__)

MAX_ROWS = 24


class TableLogger(Protocol):
    """What a table needs of a logger; `RunLogger` is one."""

    output_dir: Path

    def log_artifact(self, path: Path) -> None: ...


@rank_zero_only
def log_rollouts(logger: TableLogger, rollouts: Sequence[Rollout], round: int, name: str = "val") -> Path | None:
    """Writes the table of a round and has the logger keep it. Never raises for a bad rollout or a full disk.

    Args:
        logger: Whose run the table belongs to.
        rollouts: With plan, reward and terms; of more than 24, evenly spaced ones are shown: the same steps every round.
        round: The round, from 1; 0 for a validation before the training.
        name: What the table is of.

    Returns:
        The table's folder, or None where nothing could be written.
    """
    folder = logger.output_dir / "tables" / f"{name}-{round:04d}"
    shown = (
        [rollouts[i * len(rollouts) // MAX_ROWS] for i in range(MAX_ROWS)]
        if len(rollouts) > MAX_ROWS
        else list(rollouts)
    )
    try:
        shutil.rmtree(folder, ignore_errors=True)  # a resumed training does a round again
        folder.mkdir(parents=True)
        images = [_image(rollout) for rollout in shown]
        for number, image in enumerate(images):
            if image is not None:
                (folder / f"{number:02d}.png").write_bytes(image)
        (folder / "table.json").write_text(json.dumps(_table(shown, images, f"tables/{folder.name}")), encoding="utf-8")
        title = f"{name}, round {round}"
        (folder / "page.html").write_text(_page(title, rollouts, shown, images), encoding="utf-8", errors="replace")
    except OSError as error:
        log.warning("The table %s could not be written (%s). The training goes on without it.", folder, error)
        return None
    logger.log_artifact(folder)
    return folder


def _image(rollout: Rollout) -> bytes | None:
    if rollout.step.screenshot is None:
        return None
    try:
        return draw_plan(rollout.step.screenshot, rollout.plan, rollout.step)
    except DataError as error:
        log.warning("No drawing for step %s: %s", rollout.step.key, error)
        return None


def _errors(rollout: Rollout) -> str:
    """Everything that went wrong with a rollout, in the order of the stages."""
    found = [rollout.plan.error, *(f"step {k}: {s.error}" for k, s in enumerate(rollout.plan.steps, 1) if s.error)]
    if rollout.response.truncated:
        found.insert(0, "stopped by the token limit")
    if rollout.outcome is not None:
        found += [rollout.outcome.error, rollout.outcome.fault]
    return "; ".join(error for error in found if error)


def _table(rollouts: Sequence[Rollout], images: Sequence[bytes | None], place: str) -> dict[str, Any]:
    """Pandas' "split" layout with MLflow's image cells."""
    terms = list(dict.fromkeys(term for rollout in rollouts for term in rollout.terms))
    data = []
    for number, (rollout, image) in enumerate(zip(rollouts, images, strict=True)):
        path = f"{place}/{number:02d}.png"
        cell = {"type": "image", "filepath": path, "compressed_filepath": path} if image is not None else ""
        figures = [rollout.reward, *(rollout.terms.get(term) for term in terms)]
        data.append(
            [rollout.step.key, rollout.step.instruction, cell, rollout.response.text, *figures, _errors(rollout)]
        )
    return {"columns": ["key", "instruction", "screenshot", "response", "reward", *terms, "error"], "data": data}


def _page(title: str, rollouts: Sequence[Rollout], shown: Sequence[Rollout], images: Sequence[bytes | None]) -> str:
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    mean = f", mean reward {sum(rewards) / len(rewards):.3f}" if rewards else ""
    rows = [_row(rollout, image) for rollout, image in zip(shown, images, strict=True)]
    summary = f"{len(shown)} of {len(rollouts)} rollouts{mean}"
    return _PAGE.substitute(title=escape(title), summary=summary, rows="\n".join(rows))


def _row(rollout: Rollout, image: bytes | None) -> str:
    picture = '<p class="none">no screenshot</p>'
    if image is not None:
        picture = (
            f'<img src="data:image/png;base64,{base64.b64encode(image).decode()}" alt="the plan on its screenshot">'
        )
    reward = "masked" if rollout.masked else "not scored" if rollout.reward is None else f"{rollout.reward:.3f}"
    terms = "".join(f"<span>{escape(name)} {value:.3f}</span>" for name, value in rollout.terms.items())
    errors = _errors(rollout)
    return _ROW.substitute(
        picture=picture,
        key=escape(rollout.step.key),
        instruction=escape(rollout.step.instruction),
        reward=f"<b>reward {reward}</b>{terms}",
        plan=_steps(rollout.plan.steps) or "<li>no step could be read</li>",
        expert=_steps(rollout.step.future),
        error=f'<p class="error">{escape(errors)}</p>' if errors else "",
        response=escape(rollout.response.text),
    )


def _steps(steps: Sequence[PlanStep]) -> str:
    return "".join(f"<li>{_step(step)}</li>" for step in steps)


def _step(step: PlanStep) -> str:
    if step.action is None:
        return "<i>unreadable</i>"
    done = " <i>(done)</i>" if step.status == "done" else ""
    return f"<code>{escape(step.action.action_type)}</code> {escape(step.action.step_instruction)}{done}"


_ROW = Template("""<section>
<div class="picture">$picture</div>
<div class="text">
<h2>$key</h2>
<p class="instruction">$instruction</p>
<p class="figures">$reward</p>
$error
<div class="plans"><div><h3>plan</h3><ol>$plan</ol></div><div><h3>expert</h3><ol>$expert</ol></div></div>
<details><summary>response</summary><pre>$response</pre></details>
</div>
</section>""")

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #222; }
section { display: flex; gap: 1.5em; border-top: 1px solid #ccc; padding: 1.2em 0; }
.picture { flex: 0 0 46%; } .picture img { max-width: 100%; max-height: 640px; border: 1px solid #bbb; }
.text { flex: 1; min-width: 0; } h2 { font: 600 13px monospace; color: #666; margin: 0; overflow-wrap: anywhere; }
.instruction { font-size: 17px; margin: .3em 0 .6em; } .none { color: #888; }
.figures > * { display: inline-block; background: #eef1f5; border-radius: 4px; padding: .1em .6em; margin: 0 .4em .3em 0; }
.figures b { background: #d9e5f7; } .error { color: #b00020; overflow-wrap: anywhere; }
.plans { display: flex; gap: 1.5em; } .plans > div { flex: 1; min-width: 0; } h3 { margin: .4em 0; font-size: 13px; color: #666; }
ol { margin: 0; padding-left: 1.6em; } pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f6f6; padding: .8em; }
i.first { color: #d62728; } i.later { color: #1f58b4; } i.reference { color: #009e50; }
</style></head><body>
<h1>$title</h1>
<p>$summary. On the screenshots: <i class="first">the step that runs now (1)</i>, <i class="later">later steps of the plan</i>,
<i class="reference">the expert's target</i>.</p>
$rows
</body></html>
""")
