"""A raw data set of the tests' own, and its converter: `*.raw` files of JSON lines, one trajectory each.

A line: {"id", "steps", "goal", "split", "bad"}; `bad` breaks the trajectory in one of the ways below. `!` instead of a line is a
damaged file. Registered as `toy_raw` when this module is imported, also in workers (`--plugin toy_raw`).
"""

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from toy_steps import picture

from tracer1.data.converters import CONVERTERS
from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.errors import DataError
from tracer1.interfaces import Converted, Note, Task, Unit
from tracer1.schema import Action


class ToyRaw:
    licence = "none"
    release = "made by the tests"
    platform = "web"

    def units(self, source: Path) -> Sequence[Unit]:
        return [Unit(path.stem, str(path)) for path in sorted(Path(source).glob("*.raw"))]

    def read(self, unit: Unit) -> Iterator[Converted]:
        with open(unit.path, encoding="utf-8") as stream:
            for number, text in enumerate(stream):
                if text.startswith("!"):
                    raise DataError(f"{unit.path}: damaged at line {number}. Fetch it again.")
                line = json.loads(text)
                if line.get("bad") == "dies":
                    os._exit(9)
                if line.get("bad") == "fault":
                    raise KeyError("no such field")
                time.sleep(float(os.environ.get("TOY_DELAY", 0)))
                yield _convert(line)


def _convert(line: dict) -> Converted:
    task = Task(line.get("dataset", "toy_raw"), line["id"], line.get("goal", "reach it"), "web", line.get("split"))
    notes = [Note("repaired", f"{line['id']}/0", "mended", "a word")] if line.get("bad") == "mended" else []
    converted = finish(task, _drafts(line), notes)
    if line.get("bad") == "schema":
        return replace(converted, steps=tuple(replace(step, platform="fridge") for step in converted.steps))
    return converted


def _drafts(line: dict) -> Iterator[Draft]:
    for t in range(line.get("steps", 2)):
        if line.get("bad") == "cut" and t == 1:
            raise Unusable("screenshot missing", f"{t}.png")
        if line.get("bad") == "drop":
            raise Unusable("no place", whole=True)
        yield Draft(Action("click", f"click {t}", point=(10.0 * t, 20.0)), picture(1000 + 7 * t + len(line["id"])))


CONVERTERS.register("toy_raw")(ToyRaw())


def write_raw(folder: Path, units: int = 5, lines: int = 9, seed: int = 0) -> Path:
    """Units with everything that can happen to a trajectory, ids that come again in the unit and in others, and all splits."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for unit in range(units):
        made = [{"id": f"u{unit}.{n}", "steps": draw.randint(1, 4), "split": None} for n in range(lines)]
        for line, bad in zip(made, ("cut", "drop", "mended", "schema"), strict=False):
            line["bad"] = bad
        made[4]["id"] = "again"  # in every unit
        made[5]["id"] = made[6]["id"] = f"twice {unit}"  # in one unit
        made[7] |= {"split": "test", "bad": "cut"}
        made[8]["split"] = draw.choice(["train", "validation"])
        draw.shuffle(made)
        (folder / f"{unit}.raw").write_text("".join(f"{json.dumps(line)}\n" for line in made))
    return folder
