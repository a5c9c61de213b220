"""Small benchmarks by hand: episodes of recorded actions as shards, and answers to them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tracer1.data.records import make_key
from tracer1.data.shards import write_shards
from tracer1.parsing import format_plan, parse_plan
from tracer1.schema import DONE, NOT_DONE, Action, Box, Outcome, PlanStep, Response, Rollout, Step


@dataclass(frozen=True)
class Recorded:
    """What the expert did in one step."""

    action: Action
    boxes: tuple[Box, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    seen: bool = True


def picture(width: int = 64, height: int = 64) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(stream, "PNG")
    return stream.getvalue()


def episode(dataset: str, name: str, recorded: Sequence[Recorded], platform: str = "mobile", **meta: Any) -> list[Step]:
    last = len(recorded) - 1
    expert = tuple(PlanStep(r.action, DONE if t == last else NOT_DONE, "a page", t + 1) for t, r in enumerate(recorded))
    return [
        Step(
            key=make_key(dataset, name, t),
            dataset=dataset,
            trajectory=name,
            index=t,
            instruction="do it",
            screenshot=picture() if r.seen else None,
            history=expert[:t],
            future=expert[t:],
            boxes=r.boxes,
            platform=platform,
            image_size=(64, 64) if r.seen else None,
            meta={**meta, **r.meta},
        )
        for t, r in enumerate(recorded)
    ]


def write(folder: Path, episodes: Sequence[list[Step]], split: str = "test", prefix: str | None = None) -> list[str]:
    """The pattern of the shards that hold the episodes."""
    prefix = prefix or episodes[0][0].dataset
    write_shards(episodes, folder, split=split, prefix=prefix)
    return [f"{folder}/{prefix}-{split}-*.tar"]


def answer(step: Step, action: Action | None, outcome: Outcome | None = None) -> Rollout:
    """A rollout whose plan begins with the action; None answers with nonsense."""
    text = "nonsense" if action is None else format_plan([PlanStep(action, DONE, "a page")], step.index + 1)
    return Rollout(step, Response(text, (1,), (-1.0,)), parse_plan(text), outcome)


def click(x: float, y: float) -> Action:
    return Action("click", "press it", point=(x, y))


def scored(benchmark: Any, answers: Mapping[tuple[str, int], Action | None]) -> dict[str, float]:
    """Figures under their short names, after every step is answered: as `answers` say, else as the expert did."""
    for steps in benchmark.batches(3):
        benchmark.add(steps, [answer(s, answers.get((s.trajectory, s.index), s.future[0].action)) for s in steps])
    prefix = f"val/{benchmark.name}/"
    return {name.removeprefix(prefix): f.value for name, f in benchmark.result().figures.items()}
