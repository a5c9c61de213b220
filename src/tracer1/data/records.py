"""What a shard stores of one step, its JSON Schema, and how steps become records and records become steps.

Pure functions: it knows nothing about tar files, folders or torch. A record holds only its own step; history and future
are put together from the whole trajectory, so their lengths are chosen when reading.
"""

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from tracer1.schema import Action, PlanStep, Step

SCHEMA_VERSION = 1
BEFORE = "before"  # in the meta of a tool's step that was read: see `to_steps`


@dataclass(frozen=True, slots=True)
class Stored:
    """One step as it lies in a shard: the JSON record and the screenshot's bytes."""

    record: dict[str, Any]
    screenshot: bytes | None


def make_key(dataset: str, trajectory: str, index: int) -> str:
    """`<dataset>-<trajectory>-<index:03d>` with whatever a shard member's name cannot hold replaced by `_`."""
    stem = re.sub(r"[./\\\s\x00-\x1f]+", "_", f"{dataset}-{trajectory}").lstrip("_")
    return f"{stem}-{index:03d}"


def key_stem(key: str) -> str:
    """The key without the step's number: the same for all steps of a trajectory."""
    return key.rpartition("-")[0]


@functools.cache
def step_schema() -> dict[str, Any]:
    """The JSON Schema of a record (`step.schema.json`)."""
    return json.loads(files("tracer1.data").joinpath("step.schema.json").read_text(encoding="utf-8"))


@functools.cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # late: whoever only converts does not wait for it

    return Draft202012Validator(step_schema())


@functools.cache
def _quick_validator() -> Any:
    """Says only whether, but a hundred times as fast: reading a step must not take long beside decoding its screenshot."""
    from jsonschema_rs import validator_for

    return validator_for(step_schema())


def schema_problem(record: Any) -> tuple[str, str] | None:
    """Where and how a record breaks the schema, e.g. `("action.point[0]", "1200 is greater ...")`; None if it is fine."""
    if _quick_validator().is_valid(record):
        return None
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(record))
    if error is None:
        return None
    problem = error.message if len(error.message) <= 200 else f"{error.message[:97]} ... {error.message[-97:]}"
    return error.json_path.removeprefix("$").removeprefix(".") or "the top level", problem


def to_record(step: Step, split: str, num_steps: int) -> dict[str, Any]:
    """The record of a step: what is its own (`future[0]`), not its history and not the rest of its future.

    Args:
        step: The step to store; of `future` only the first is looked at.
        split: `train`, `val`, `test` or the owner's name.
        num_steps: The steps of the whole trajectory.
    """
    now = step.future[0]
    action = {} if now.action is None else asdict(now.action)
    return {
        "schema_version": SCHEMA_VERSION,
        "key": step.key,
        "dataset": step.dataset,
        "split": split,
        "platform": step.platform,
        "trajectory": step.trajectory,
        "index": step.index,
        "num_steps": num_steps,
        "instruction": step.instruction,
        "action": {name: value for name, value in action.items() if value is not None},
        "status": now.status,
        "screenshot_abstraction": now.screenshot_abstraction,
        "boxes": [list(box) for box in step.boxes],
        "image_size": None if step.image_size is None else list(step.image_size),
        "has_screenshot": step.screenshot is not None,
        "meta": {name: value for name, value in step.meta.items() if name != BEFORE},
    }


def to_plan_step(record: dict[str, Any]) -> PlanStep:
    """The expert's step that a record holds, numbered from 1 within its trajectory."""
    fields = dict(record["action"])
    for name in ("point", "end_point"):
        if name in fields:
            x, y = fields[name]
            fields[name] = (float(x), float(y))
    return PlanStep(Action(**fields), record["status"], record["screenshot_abstraction"], record["index"] + 1)


def to_steps(trajectory: Sequence[Stored], history: int | None = None, horizon: int | None = None) -> list[Step]:
    """Puts history and future together.

    Args:
        trajectory: The records of one trajectory, in order, from its first step on.
        history: How many earlier steps each step shows (K); None for all.
        horizon: How many expert steps each step holds from its own on (T, at least 1); None for all.

    Returns:
        One step per record. A tool's step brings along, in `meta["before"]`, what every earlier step of the trajectory did and gave,
        however many of them its history shows: an executor makes the interpreter's state of it.
    """
    expert = tuple(to_plan_step(stored.record) for stored in trajectory)
    done = [_done(stored.record) for stored in trajectory]
    steps = []
    for t, stored in enumerate(trajectory):
        record = stored.record
        before = {BEFORE: done[:t]} if record["platform"] == "tool" else {}
        steps.append(
            Step(
                key=record["key"],
                dataset=record["dataset"],
                trajectory=record["trajectory"],
                index=record["index"],
                instruction=record["instruction"],
                screenshot=stored.screenshot,
                history=expert[0 if history is None else max(0, t - history) : t],
                future=expert[t : None if horizon is None else t + horizon],
                boxes=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in record["boxes"]),
                platform=record["platform"],
                image_size=None if record["image_size"] is None else (record["image_size"][0], record["image_size"][1]),
                meta={**record["meta"], **before},
            )
        )
    return steps


def reread(trajectory: Sequence[Step], history: int | None = None, horizon: int | None = None) -> list[Step]:
    """The steps of a trajectory as they come back from a shard that holds them; see `to_steps`."""
    stored = [Stored(to_record(step, "train", len(trajectory)), step.screenshot) for step in trajectory]
    return to_steps(stored, history, horizon)


def _done(record: dict[str, Any]) -> dict[str, Any]:
    """What a tool's step did and gave, in plain values."""
    action, meta = record["action"], record["meta"]
    return {
        **{name: action.get(name) for name in ("action_type", "arguments", "code", "content")},
        **{name: meta.get(name) for name in ("outcome", "code_before")},
    }
