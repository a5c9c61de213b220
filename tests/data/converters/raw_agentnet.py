"""AgentNet in small, in the owners' format: jsonl files, a folder of screenshots for each, and what joins them."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toy_steps import picture

SECRETS = {"reflection": "It opened the secret window.", "last_step_correct": True, "last_step_redundant": False}


def step(index: int, code: str, image: str | None = None, **value: Any) -> dict[str, Any]:
    """One element of `traj`; `value` adds to and replaces what its owners' models wrote."""
    written = {
        "observation": f"The screen shows window {index}. A second sentence about it.",
        "thought": f"I should do step {index}.",
        "action": f"Do step {index}.",
        "code": code,
        **SECRETS,
        **value,
    }
    return {"index": index, "image": image or f"{index}.png", "value": written}


def record(task_id: str, codes: Sequence[str], **fields: Any) -> dict[str, Any]:
    """One line: a trajectory whose steps run `codes`."""
    return {
        "task_id": task_id,
        "instruction": f"Do the task {task_id}.",
        "task_completed": True,
        "alignment_score": 9,
        "domain": "OS",
        "traj": [step(index, code) for index, code in enumerate(codes)],
        **fields,
    }


def write_release(
    folder: Path,
    records: Sequence[dict[str, Any] | str],
    name: str = "agentnet_ubuntu_5k.jsonl",
    images: str = "ubuntu_images",
    count: int = 8,
) -> Path:
    """Writes a jsonl file (a string is a line as it is) and `count` screenshots; returns the folder."""
    (folder / images).mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for number in range(count):
        (folder / images / f"{number}.png").write_bytes(picture(number))
    return folder


def zip_pictures(folder: Path, name: str = "images-full.zip") -> Path:
    """Moves the loose screenshots of a folder into an archive, below `images/` as the owners have them."""
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for picture_path in sorted(folder.glob("*.png")):
            archive.write(picture_path, f"images/{picture_path.name}")
            picture_path.unlink()
    return path
