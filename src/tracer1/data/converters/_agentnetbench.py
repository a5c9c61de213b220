"""AgentNetBench's tasks (OpenCUA, `evaluation/agentnetbench`) in the form of AgentNet's records: real recordings with boxes.

A task is a JSON file. Only annotated steps are in it, so their numbers have gaps. It knows nothing about how answers are scored.
"""

from collections.abc import Mapping
from typing import Any

from tracer1.data.converters._text import text_in
from tracer1.schema import Box

SPLIT = "test"  # it is made for evaluation: never to be trained on


def is_task(value: Any) -> bool:
    """Whether a JSON file holds a task."""
    return isinstance(value, dict) and isinstance(value.get("steps"), list)


def to_record(task: Mapping[str, Any]) -> dict[str, Any]:
    """The task as a line of AgentNet has it, with the target's `boxes` beside each step's `value`."""
    steps = [step if isinstance(step, dict) else {} for step in task["steps"]]
    return {
        "task_id": text_in(task, "task_id"),
        "instruction": text_in(task, "high_level_task_description"),
        "traj": [
            {
                "index": step.get("step_num"),
                "image": text_in(step, "image"),
                "value": {
                    "code": text_in(step, "action"),
                    "observation": text_in(step.get("inner_monologue"), "observation"),
                    "action": text_in(step.get("inner_monologue"), "low_level_instruction"),
                },
                "boxes": target_boxes(step.get("ground_truth_actions")),
            }
            for step in steps
        ],
    }


def target_boxes(actions: Any) -> tuple[Box, ...]:
    """The boxes of a step's first action, which are x, y, width and height as shares of the screenshot, in 0..1000."""
    try:
        sides = [box["rel_bbox"] for box in actions[0]["metadata"].get("bboxes", [])]
        return tuple((1000 * x, 1000 * y, 1000 * (x + w), 1000 * (y + h)) for x, y, w, h in sides)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return ()
