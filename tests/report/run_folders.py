"""Folders as runs leave them, written by hand: what a report has to read."""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Draw = Callable[..., bytes]
DEFAULTS = {
    "rounds": 4,
    "data": {"horizon": 4, "seed": 1},
    "algorithm": {"group_size": 5, "kl_coef": 0.05},
    "optimizer": {"lr": 1e-4},
}


def write_training(
    outputs: Path,
    name: str,
    seed: int = 1,
    start: str = "demo/tiny_planner",
    rounds: int = 4,
    began: float = 1e9,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """A finished training; its reward rises by 0.1 a round from 0.1 · seed."""
    folder = outputs / name
    (folder / "policy").mkdir(parents=True)
    (folder / "hydra").mkdir()
    config = {
        "run_name": name,
        "seed": seed,
        **DEFAULTS,
        **(settings or {}),
        "model": {"path": start, "reference": start},
        "paths": {"outputs": str(outputs), "output_dir": str(folder)},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"+experiment={name}", f"seed={seed}"]))
    chosen = {"hydra": {"runtime": {"choices": {"experiment": name, "data": "miniwob", "hydra/help": "default"}}}}
    (folder / "hydra" / "hydra.yaml").write_text(yaml.safe_dump(chosen))
    origin = {"mlflow.source.git.commit": "0123456789abcdef", "git.dirty": "true", "version.torch": "2.13.0"}
    (folder / "run.json").write_text(json.dumps({"run_name": name, "origin": origin}))
    lines: list[dict[str, Any]] = [{"time": began, "artifact": "config.yaml"}]
    lines += [{"time": began, "round": 0, "step": 0, "val/heldout/step_success": 0.2}]
    lines += [
        {"time": began + 30 * r, "round": r, "step": 2 * r, "reward/total": seed / 10 + r / 10, "policy/kl": 0.01 * r}
        for r in range(1, rounds + 1)
    ]
    write_lines(folder / "metrics.jsonl", lines)
    return folder


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """JSON lines."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def write_table(training: Path, round_: int, screenshot: bytes, instruction: str = "Click the red square.") -> None:
    """A validation's table of rollouts; the second one has no picture."""
    folder = training / "tables" / f"val-{round_:04d}"
    folder.mkdir(parents=True)
    (folder / "00.png").write_bytes(screenshot)
    (folder / "page.html").write_text("<p>all</p>")
    picture = {"type": "image", "filepath": f"tables/{folder.name}/00.png"}
    rows = [
        ["a-1", instruction, picture, "<answer>Step 1</answer>", 0.9, 1.0, ""],
        ["a-2", "Type it.", "", "nonsense", 0.1, 0.0, "no step could be read"],
    ]
    columns = ["key", "instruction", "screenshot", "response", "reward", "format", "error"]
    (folder / "table.json").write_text(json.dumps({"columns": columns, "data": rows}))


def write_evaluation(path: Path, policy: str, **figures: float | None) -> Path:
    """What `eval.py report=FILE` writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"policy": policy, "steps": 748, **{f"val/heldout/{name}": value for name, value in figures.items()}}
    path.write_text(json.dumps(content))
    return path


def write_played(folder: Path, policy: str, value: float | None = 0.5, **more: Any) -> Path:
    """What a played benchmark writes."""
    folder.mkdir(parents=True, exist_ok=True)
    key = "val/miniwob/raw_reward.success"
    content = {
        "policy": policy,
        "benchmark": "miniwob",
        "headline": key,
        "steps": 70,
        "episodes": 20,
        "rules": {"raw_reward": "the page's own reward is 1"},
        "seeds": 10,
        "counts": {"episodes": 21, "faults": 1, "end_done": 12},
        "means": {"steps": 3.5},
        "excluded": {"flight-search": "needs another site", "flight-book": "needs another site"},
        "refused": {"draw-line": "its metric cannot be computed here"},
        "faults": [{"task": "click-test", "seed": 7, "fault": "the browser died"}],
        "wall_s": 65.0,
        "figures": {
            key: {"value": value, "low": None if value is None else value - 0.1, "high": None if value is None else value + 0.1},
            f"{key}.these_tasks": {"value": 0.55, "low": 0.52, "high": 0.6},
        },
        "by_task": {
            "click-test": {"success": 0.9, "episodes": 10, "faults": 1, "steps": 1.2},
            "login-user": {"success": None, "episodes": 0, "faults": 0, "steps": None},
        },
        "published": [
            {"published": True, "agent": "Some agent", "value": 0.648, "source": "Table 9", "what": "headline"},
            {"published": True, "agent": "Other agent", "value": 0.3, "source": "Table 9", "what": "hard half"},
        ],
        **more,
    }  # fmt: skip
    path = folder / "miniwob.json"
    path.write_text(json.dumps(content))
    return path


def write_episodes(folder: Path, screenshot: bytes, ends: Sequence[tuple[str, float | None, str]]) -> Path:
    """A record of episodes of two steps each; `ends` says for each how it ended, its score and its fault."""
    (folder / "screens-1").mkdir(parents=True)
    lines: list[dict[str, Any]] = [{"kind": "run", "version": 1, "settings": {"policy": "demo/tiny_planner"}}]
    for number, (end, score, fault) in enumerate(ends):
        place = {"episode": number, "attempt": 0, "task": f"task-{number}", "seed": 100 + number, "sample": 0}
        for turn in (1, 2):
            name = f"screens-1/{number:04d}-0-{turn:03d}.png"
            (folder / name).write_bytes(screenshot)
            lines.append({"kind": "turn", **place, **_turn(turn, name)})
        said = {
            "instruction": "Click twice.",
            "end": end,
            "score": score,
            "fault": fault,
            "screenshot": None,
            "seconds": 1.5,
        }
        lines.append({"kind": "end", **place, **said, "steps": 2, "lost": 0})
    path = folder / "episodes.jsonl"
    write_lines(path, lines)
    return path


def _turn(number: int, screenshot: str) -> dict[str, Any]:
    action = {"action_type": "click", "step_instruction": "click the square", "point": [450.0, 310.0]}
    step = {"action": action, "status": "not done", "screenshot_abstraction": "a square", "number": number, "error": ""}
    plan = {"thought": "", "framed": True, "error": "", "steps": [step]}
    tried = {"response": "Step 1", "truncated": False, "plan": plan, "error": "", "error_kind": ""}
    return {
        "turn": number,
        "instruction": "Click twice.",
        "screenshot": screenshot,
        "text": "",
        "executed_before": number - 1,
        "tries": [tried],
        "action": action,
        "ended": False,
        "seconds": {"observe": 0.1, "plan": 0.2, "execute": 0.1},
    }


def write_everything(outputs: Path, screenshot: bytes) -> None:
    """Two seeds of a chain of two stages, evaluations of each, a benchmark of each, tables and episodes."""
    for seed in (1, 2):
        place = outputs / f"seed{seed}"
        one = write_training(place, "stage1", seed, began=1e9)
        two = write_training(
            place, "stage2", seed, start=str(one / "policy"), began=1e9 + 500, settings={"optimizer": {"lr": 2e-4}}
        )
        write_table(one, 4, screenshot)
        write_table(two, 4, screenshot)
        write_evaluation(place / "eval_before.json", "demo/tiny_planner", step_success=0.4 + seed / 100, format=0.98)
        write_evaluation(place / "eval_after_stage_1.json", f"{one}/policy", step_success=0.5 + seed / 100, format=0.99)
        write_evaluation(place / "eval_after_stage_2.json", f"{two}/policy", step_success=0.6 + seed / 100, format=None)
        write_played(place / "play_before", "demo/tiny_planner", 0.2 + seed / 100)
        write_played(place / "play_after", f"{two}/policy", 0.5 + seed / 100)
    write_episodes(
        outputs / "seed1" / "play_after", screenshot, [("done", 1.0, ""), ("steps", 0.0, ""), ("fault", None, "died")]
    )


def tool_main(name: str) -> Callable[[list[str]], int]:
    """`main` of a program in `tools/`."""
    spec = importlib.util.spec_from_file_location(f"{name}_tool", Path(__file__).parents[2] / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main
