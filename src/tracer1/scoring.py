"""Scores recorded responses without a model: JSON lines in, rewards out. The logic of `tools/score_plans.py`.

It joins the parser, the direct executor and the rewards; it knows nothing of training, engines or data sets.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer1.errors import ConfigError, DataError, RewardError
from tracer1.executors import EXECUTORS
from tracer1.json_lines import check_known, read_object
from tracer1.parsing import parse_plan
from tracer1.rewards import build_reward
from tracer1.schema import Box, PlanStep, Response, Rollout, Step

RewardFunction = Callable[[Rollout], tuple[float, dict[str, float]]]
KEYS = ("response", "reference", "boxes", "image_width", "image_height", "starts_in_think", "key")  # of an input line


def reward_from_settings(name: str, settings: Iterable[str] = ()) -> RewardFunction:
    """A single registered reward from `key=value` texts; values are read as JSON (`0.9`, `true`) and else as plain text.

    Raises:
        ConfigError: no `=` in a setting, an unknown reward, or an unknown or ill-typed setting.
    """
    return build_reward({name: settings_from_texts(settings)})


def settings_from_texts(settings: Iterable[str]) -> dict[str, Any]:
    """What `--set key=value ...` says; raises ConfigError for a text without `=`."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r} has no '='. Write it as key=value, e.g. `--set gamma=0.9`.")
        try:
            values[key.strip()] = json.loads(value)
        except ValueError:
            values[key.strip()] = value
    return values


def reward_from_file(path: str | Path) -> RewardFunction:
    """The reward that a YAML file with `terms:` composes, e.g. one of `conf/reward/`.

    Raises:
        ConfigError: no such file, not YAML, or no `terms`.
    """
    from omegaconf import OmegaConf  # only now: a single reward needs no YAML
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        config = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(config, dict) or "terms" not in config:
        raise ConfigError(
            f"{path} has no `terms:`. Write one, e.g. `terms: {{trajectory_alignment: {{weight: 0.9}}}}`."
        )
    return build_reward(config["terms"])


def score_lines(lines: Iterable[bytes], reward: RewardFunction, source: str = "-") -> Iterator[dict[str, float]]:
    """Scores one response per line; blank lines are skipped.

    Args:
        lines: UTF-8 JSON objects with `response` and `reference` (see `read_rollout`).
        reward: From `reward_from_settings` or `reward_from_file`.
        source: What the lines came from, for messages.

    Yields:
        `{"total": ..., <term>: ...}` for each line, in order.

    Raises:
        DataError: a line that cannot be read, with its number.
        RewardError: a reward that failed on a line, with its number.
    """
    executor = EXECUTORS.get("direct")()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source}:{number}"
        rollout = read_rollout(line, where)
        (outcome,) = executor.execute([rollout])
        try:
            total, terms = reward(replace(rollout, outcome=outcome))
        except RewardError as error:
            raise RewardError(f"{where}: {error}") from error
        yield {"total": total, **terms}


def read_rollout(line: bytes, where: str) -> Rollout:
    """One JSON line -> a rollout with its plan and the reference as its step's future.

    Raises:
        DataError: it starts with `where` and says what is wrong with the line.
    """
    fields = read_object(line, where, "`response` and `reference`")
    check_known(fields, KEYS, where)
    text, starts_in_think = fields.get("response"), fields.get("starts_in_think", False)
    if not isinstance(text, str):
        raise DataError(f"{where}: `response` must be the response's text, got {text!r:.60}.")
    if not isinstance(starts_in_think, bool):
        raise DataError(f"{where}: `starts_in_think` must be true or false, got {starts_in_think!r:.60}.")
    step = Step(
        key=str(fields.get("key", where)),
        dataset="file",
        trajectory=where,
        index=0,
        instruction="",
        screenshot=None,
        history=(),
        future=_read_reference(fields.get("reference"), where),
        boxes=_read_boxes(fields.get("boxes") or (), where),
    )
    return Rollout(step, Response(text, (), ()), parse_plan(text, starts_in_think))


def _read_reference(reference: Any, where: str) -> tuple[PlanStep, ...]:
    """`Step k:` text, in an answer block or bare, or a list of steps in wire form."""
    if isinstance(reference, list):
        lines = (f"Step {k}: {json.dumps(_with_abstraction(step))}" for k, step in enumerate(reference, start=1))
        reference = "\n".join(lines).replace("<", "\\u003c")  # a tag in a text would end the block
    if not isinstance(reference, str):
        raise DataError(f"{where}: `reference` must be `Step k: ...` text or a list of steps, got {reference!r:.60}.")
    plan = parse_plan(reference if "<answer>" in reference else f"<answer>{reference}</answer>")
    if not plan.steps:
        raise DataError(f"{where}: `reference` holds no step. Write at least one, e.g. `Step 1: {{...}}`.")
    for position, step in enumerate(plan.steps, start=1):
        if step.error:
            raise DataError(f"{where}: step {position} of `reference` is not a valid step: {step.error}.")
    return plan.steps


def _with_abstraction(step: Any) -> Any:
    """A reference needs no abstraction: nothing compares it."""
    return {"screenshot_abstraction": "", **step} if isinstance(step, dict) else step


def _read_boxes(boxes: Any, where: str) -> tuple[Box, ...]:
    """[[x1, y1, x2, y2], ...] in 0..1000."""
    for box in boxes if isinstance(boxes, (list, tuple)) else [boxes]:
        numeric = isinstance(box, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in box)
        inside = numeric and len(box) == 4 and 0 <= box[0] <= box[2] <= 1000 and 0 <= box[1] <= box[3] <= 1000
        if not inside:
            raise DataError(f"{where}: `boxes` must be a list of [x1, y1, x2, y2] in 0..1000, got {box!r:.60}.")
    return tuple(tuple(float(v) for v in box) for box in boxes)
