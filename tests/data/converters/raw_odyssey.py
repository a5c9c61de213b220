"""GUI-Odyssey's raw format: annotations, screenshots and splits in a folder, of version 1 or 2."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raw_android import screen

from tracer1.data.converters import CONVERTERS
from tracer1.interfaces import Converted

TAP = {"action": "CLICK", "info": [[500, 100], [500, 100]], "ps": "[(500, 100)]"}
SWIPE = {"action": "SCROLL", "info": [[500, 800], [510, 300]], "ps": "[(500, 800), (505, 600), (510, 300)]"}
COMPLETE = {"action": "COMPLETE", "info": "", "ps": ""}


def annotation(steps: Sequence[Mapping[str, Any]], name: str = "0012345678901234", /, **changes: Any) -> dict[str, Any]:
    """An annotation of version 1. `changes` replace fields of the whole or of `task_info`; None removes one."""
    whole = {
        "episode_id": name,
        "device_info": {
            "product": "husky", "release_version": "13", "sdk_version": "33", "h": 2992, "w": 1344, "device_name": "Pixel 8 Pro",
        },
        "task_info": {
            "category": "General_Tool",
            "app": ["Clock", "Settings"],
            "meta_task": "Set an alarm for {}.",
            "task": "Set an alarm for seven.",
            "instruction": "Use Clock to set an alarm for seven.",
        },
        "step_length": len(steps),
        "steps": [{"step": t, "screenshot": f"{name}_{t}.png", **step} for t, step in enumerate(steps)],
    }  # fmt: skip
    for field, value in changes.items():
        place = whole["task_info"] if field in whole["task_info"] else whole
        place[field] = value
    whole["task_info"] = {key: value for key, value in (whole["task_info"] or {}).items() if value is not None} or None
    return {key: value for key, value in whole.items() if value is not None}


def version_2(step: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A step with the fields that version 2 adds."""
    added = {
        "description": "This is the clock's list of alarms. There are two of them, e.g. one at six.",
        "intention": "SECRET intention: the alarm will be saved.",
        "context": "SECRET context: next the user taps Save.",
        "low_level_instruction": " Tap the plus button. ",
        "sam2_bbox": [450, 50, 550, 150] if step["action"] in ("CLICK", "LONG_PRESS") else [],
    }
    return {**step, **added, **changes}


def write_release(
    folder: Path,
    annotations: Sequence[Mapping[str, Any]],
    splits: Mapping[str, Sequence[str]] | None = None,
    part: str = "",
) -> Path:
    """A release's folder with a drawn screenshot for each step; `part` is a folder within `screenshots`."""
    for name in ("annotations", "splits", f"screenshots/{part}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, whole in enumerate(annotations):
        name = whole.get("episode_id", f"{number}")
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(whole))
        for t, step in enumerate(whole.get("steps") or []):
            if isinstance(step, dict):
                (folder / "screenshots" / part / step["screenshot"]).write_bytes(screen(mark=t))
    if splits is not None:
        (folder / "splits" / "random_split.json").write_text(json.dumps(splits))
    return folder


def convert(source: Path) -> list[Converted]:
    converter = CONVERTERS.get("gui_odyssey")
    return [converted for unit in converter.units(source) for converted in converter.read(unit)]
