"""Queries in GTA's and GAIA's raw layouts by hand, and planners that solve them by a script."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tracer1.parsing import format_plan, parse_plan
from tracer1.schema import DONE, Action, PlanStep, Response, Rollout, Step


class NoSandbox:
    """For tools that need none."""

    def close(self) -> None: ...


def call(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {
        "role": "assistant",
        "thought": f"I call {name}.",
        "tool_calls": [{"type": "function", "function": function}],
    }


def said(name: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "name": name, "content": {"type": "text", "content": text}}


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def query(gold: Any, *turns: Mapping[str, Any], image: str = "image/a.png", **fields: Any) -> dict[str, Any]:
    """A query of GTA with the tools that its reference calls."""
    names = [turn["tool_calls"][0]["function"]["name"] for turn in turns if "tool_calls" in turn]
    return {
        "tools": [{"name": name, "description": "", "inputs": [], "outputs": []} for name in dict.fromkeys(names)],
        "files": [{"type": "image", "path": image, "url": None}],
        "dialogs": [{"role": "user", "content": "How many?"}, *turns],
        "gt_answer": gold,
        **fields,
    }


def write_gta(folder: Path, queries: Mapping[str, Any]) -> Path:
    """dataset.json with its one image."""
    (folder / "image").mkdir()
    Image.new("RGB", (40, 30), "white").save(folder / "image" / "a.png")
    path = folder / "dataset.json"
    path.write_text(json.dumps(queries))
    return path


def write_gaia(folder: Path, questions: Sequence[Mapping[str, Any]], split: str = "validation") -> Path:
    """A release with one split."""
    (folder / "2023" / split).mkdir(parents=True)
    lines = "".join(f"{json.dumps(question)}\n" for question in questions)
    (folder / "2023" / split / "metadata.jsonl").write_text(lines)
    return folder


def question(key: str, level: Any, gold: str, file: str = "") -> dict[str, Any]:
    return {
        "task_id": key, "Question": f"What is {key}?", "Level": level, "Final answer": gold, "file_name": file,
        "Annotator Metadata": {"Steps": "", "Number of steps": "1", "Tools": "", "Number of tools": "0"},
    }  # fmt: skip


class ByTask:
    """Plans for each task what its script says: actions in turn, None for a response that is no plan."""

    def __init__(self, scripts: Mapping[str, Sequence[Action | None]]) -> None:
        self.scripts, self.asked = scripts, []

    def plan(self, step: Step, attempt: int) -> Rollout:
        self.asked.append(step)
        action = self.scripts[step.meta["task"]][step.meta["turn"] - 1]
        return rollout(step, action)

    def serve(self, until: threading.Event, callers: Callable[[], int] | None = None) -> None:
        until.wait()


def rollout(step: Step, action: Action | None) -> Rollout:
    """A response whose plan begins with an action; None: a response that is no plan."""
    if action is None:
        return Rollout(step, Response("no plan", (), ()), parse_plan("no plan"))
    status = DONE if action.action_type == "final_answer" else "not done"
    text = format_plan([PlanStep(action, status, "known")], step.index + 1)
    return Rollout(step, Response(text, (), ()), parse_plan(text))


def act(tool: str, **arguments: Any) -> Action:
    return Action(tool, f"call {tool}", arguments=arguments)


def final(text: str) -> Action:
    return Action("final_answer", "answer", content=text)
