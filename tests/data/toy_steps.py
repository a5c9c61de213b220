"""Small hand-made trajectories for the tests of data: no files, no torch."""

import io
import random
import tarfile
from pathlib import Path

from PIL import Image

from tracer1.data.records import make_key
from tracer1.data.shards import write_shards
from tracer1.schema import DONE, NOT_DONE, Action, PlanStep, Step

TYPES = ("click", "type", "scroll", "wait")


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (24, 16)) -> bytes:
    """A small image of noise, so that it is some 1 kB and each seed gives another."""
    image = Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3))
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def expert_step(t: int, count: int) -> PlanStep:
    kind = TYPES[t % 4]
    action = Action(
        kind,
        f"do {kind} {t}",
        point=(10.5 * t, 500.0) if kind == "click" else None,
        content='it\'s "é" 😀\n' if kind == "type" else None,
        direction="down" if kind == "scroll" else None,
    )
    return PlanStep(action, DONE if t == count - 1 else NOT_DONE, f"page {t}", t + 1)


def trajectory(name: str, count: int, dataset: str = "toy", image: str | None = "PNG") -> list[Step]:
    """`count` steps with all of their history and future."""
    expert = tuple(expert_step(t, count) for t in range(count))
    return [
        Step(
            key=make_key(dataset, name, t),
            dataset=dataset,
            trajectory=name,
            index=t,
            instruction=f"reach {name}",
            screenshot=picture(1000 * count + t, image) if image else None,
            history=expert[:t],
            future=expert[t:],
            boxes=((1.0, 2.0, 30.25, 40.0),) if t % 2 == 0 else (),
            platform="web",
            image_size=(24, 16) if image else None,
            meta={"licence": "none", "seed": t},
        )
        for t in range(count)
    ]


def toy_shards(folder: Path, shards: int, per_shard: int = 2, dataset: str = "toy", count: int = 3) -> list[str]:
    """Writes `shards` shards of `per_shard` trajectories of `count` steps without screenshots; returns their paths."""
    paths = []
    for shard in range(shards):
        steps = [trajectory(f"{shard}.{i}", count, dataset, image=None) for i in range(per_shard)]
        paths += write_shards(steps, folder, split="train", prefix=f"{dataset}{shard:02d}")
    return [str(path) for path in paths]


def one_shard(folder: Path, *trajectories, compress: bool = False) -> Path:
    [path] = write_shards(trajectories or [trajectory("a", 3)], folder, split="train", prefix="toy", compress=compress)
    return path


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}
