"""Shards of generated steps whose screenshots look and weigh like real ones. It knows nothing about what is measured with them."""

import io
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tracer1.data.records import make_key
from tracer1.data.shard_writer import write_shards
from tracer1.schema import DONE, NOT_DONE, Action, PlanStep, Step

WORDS = ("open", "save", "settings", "account", "search", "message", "travel", "price", "cart", "order", "edit", "view")
TRAJECTORY = 12  # steps


def screenshot(seed: int, size: tuple[int, int] = (1280, 720)) -> bytes:
    """A PNG with a title bar, fields with text and two photographs; some 200 kB at 1280x720."""
    rng = random.Random(seed)
    width, height = size
    image = Image.new("RGB", size, (240, 242, 245))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    draw.rectangle((0, 0, width, 40), fill=(30, 60, 120))
    for _ in range(2):
        photo = Image.frombytes("RGB", (25, 20), rng.randbytes(1500))
        photo = photo.resize((width // 6, height // 5), Image.Resampling.BICUBIC)
        image.paste(photo, (rng.randrange(width * 5 // 6), rng.randrange(height * 4 // 5)))
    for _ in range(width * height // 15_000):
        x, y = rng.randrange(width), rng.randrange(height)
        fill = tuple(rng.randrange(150, 256) for _ in "rgb")
        draw.rectangle((x, y, x + rng.randrange(60, 220), y + 24), fill=fill, outline=(90, 90, 90))
        draw.text((x + 6, y + 4), " ".join(rng.choices(WORDS, k=3)), fill=(20, 20, 20), font=font)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def make_shards(
    folder: Path, steps: int, per_shard: int, size: tuple[int, int] = (1280, 720), pictures: int = 96
) -> list[str]:
    """Writes `steps` steps into shards of `per_shard` steps each, both multiples of 12; returns their paths.

    Args:
        folder: Where to.
        steps: In all.
        per_shard: In each shard.
        size: Of the screenshots.
        pictures: How many different screenshots there are.
    """
    shots = [screenshot(seed, size) for seed in range(pictures)]
    paths: list[Path] = []
    for shard in range(steps // per_shard):
        numbers = range(shard * per_shard // TRAJECTORY, (shard + 1) * per_shard // TRAJECTORY)
        made = _trajectories(numbers, shots, size)
        paths += write_shards(made, folder, split="train", prefix=f"made{shard:04d}", max_shard_mb=1e6)
    return [str(path) for path in paths]


def _trajectories(numbers: range, shots: list[bytes], size: tuple[int, int]) -> Iterator[list[Step]]:
    for number in numbers:
        expert = tuple(_expert(number, t) for t in range(TRAJECTORY))
        yield [
            Step(
                key=make_key("made", f"{number:06d}", t),
                dataset="made",
                trajectory=f"{number:06d}",
                index=t,
                instruction="find the cheapest flight to Rome on the second of May and put it into the cart",
                screenshot=shots[(number * TRAJECTORY + t) % len(shots)],
                history=expert[:t],
                future=expert[t:],
                boxes=((10.0, 20.0, 60.0, 45.0),),
                platform="desktop",
                image_size=size,
                meta={"licence": "none", "source_ref": f"{number}/{t}"},
            )
            for t in range(TRAJECTORY)
        ]


def _expert(number: int, t: int) -> PlanStep:
    action = Action("click", f"click the field number {number + t} of the list", point=(10.0 * t, 500.0))
    status = DONE if t == TRAJECTORY - 1 else NOT_DONE
    return PlanStep(action, status, "a page with a title bar, a list of fields and two photographs", t + 1)
