"""Batches for supervised fine-tuning: expert steps with their plans as responses. It knows nothing of rollouts or rewards."""

import io
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image, ImageChops
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from tracer1.data.stream import StepStream
from tracer1.errors import ConfigError
from tracer1.models.backbone import Backbone
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.encoder import PromptEncoder
from tracer1.models.sft import SFTBatch, place_mask
from tracer1.parsing import format_plan
from tracer1.schema import PlanStep, Point, Prompt, Step

_PLACES = re.compile(r'"(?:end_)?point": \[([^\]]*\])')


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a step becomes a training example."""

    plan_cut: float = 0.0  # chance that a plan ends after each of its steps: leaves it to GRPO to look ahead
    shift: int = 0  # screenshots and places move together by up to so many pixels, so that places are looked for
    seed: int = 0


class ExampleBatches(IterableDataset):
    """Encoded batches, the same ones in the same order for any number of loader workers.

    Every worker reads all steps (cheap) and encodes its share of the batches (dear).

    Args:
        stream: Makes the endless iterator of steps.
        encoder, backbone: What turns steps into tensors.
        recipe: How a step becomes an example.
        batch_size: Steps per batch.
    """

    def __init__(
        self,
        stream: Callable[[], StepStream],
        encoder: PromptEncoder,
        backbone: Backbone,
        recipe: Recipe,
        batch_size: int,
    ) -> None:
        self.stream, self.encoder, self.backbone, self.recipe, self.batch_size = (
            stream, encoder, backbone, recipe, batch_size,
        )  # fmt: skip
        self.first_batch = 0
        self.begin: Mapping[str, Any] | None = (
            None  # the place in the steps of a later batch than the first, see WarmstartStream
        )

    def __iter__(self) -> Iterator[SFTBatch]:
        worker = get_worker_info()
        rank, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        steps, index = self.stream(), 0
        if self.begin is not None:
            steps.load_state_dict(self.begin["steps"])
            index = self.begin["batch"]
        while True:
            batch = [next(steps) for _ in range(self.batch_size)]
            if index >= self.first_batch and (index - self.first_batch) % workers == rank:
                yield self.make(batch, index)
            index += 1

    def after(self, batches: int) -> "ExampleBatches":
        """The same batches without the first ones."""
        self.first_batch = batches
        return self

    def make(self, steps: Sequence[Step], index: int) -> SFTBatch:
        """Encodes the index-th batch; prompts that are too long are left out, and a batch of nothing else raises ConfigError."""
        rng = random.Random(f"{self.recipe.seed}/{index}")
        prompts, responses, places = [], [], []
        for step in steps:
            example = self._example(step, rng)
            if example is not None:
                prompts.append(example[0])
                responses.append(example[1])
                places.append(example[2])
        if not prompts:
            raise ConfigError(
                f"All {len(steps)} prompts of batch {index} have more than {self.encoder.max_prompt_tokens} tokens. Raise "
                "model.prompt.max_prompt_tokens or lower model.prompt.pixels."
            )
        rope = self.backbone.rope_index
        batch = ResponseBatch.collate(responses, self.backbone.pad_id)
        place = torch.zeros_like(batch.mask)
        for row, values in enumerate(places):
            place[row, : len(values)] = torch.tensor(values)
        return SFTBatch(PromptBatch.collate(prompts, self.backbone.pad_id, rope), batch, place)

    def _example(self, step: Step, rng: random.Random) -> tuple[Prompt, list[int], list[float]] | None:
        if self.recipe.shift and step.screenshot is not None:
            limit = self.recipe.shift
            step = shifted(step, rng.randint(-limit, limit), rng.randint(-limit, limit))
        future = step.future[: cut_length(len(step.future), self.recipe.plan_cut, rng)]
        prompt = self.encoder.encode(step)
        if prompt is None:
            return None
        text = format_plan(future, step.index + 1)
        if prompt.starts_in_think:
            text = text.removeprefix("<think>")
        encoded = self.backbone.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans = [match.span(1) for match in _PLACES.finditer(text)]
        end = self.backbone.tokenizer.eos_token_id
        return prompt, [*encoded["input_ids"], end], [*place_mask(encoded["offset_mapping"], spans), 0.0]


def cut_length(length: int, chance: float, rng: random.Random) -> int:
    """How many of a plan's steps stay when it ends after each with this chance; the first always stays."""
    return next((kept for kept in range(1, length) if rng.random() < chance), length)


def shifted(step: Step, dx: int, dy: int) -> Step:
    """The step on a screen whose content moved by (dx, dy) pixels; what leaves on one side comes in on the other.

    A move that would carry a place of the plan off the screen is not made.
    """
    with Image.open(io.BytesIO(step.screenshot)) as image:
        width, height = image.size
        by = (dx / width * 1000, dy / height * 1000)
        places = [p for s in step.future if s.action for p in (s.action.point, s.action.end_point) if p]
        if not all(0 <= x + by[0] <= 1000 and 0 <= y + by[1] <= 1000 for x, y in places):
            return step
        moved = ImageChops.offset(image.convert("RGB"), dx, dy)
    buffer = io.BytesIO()
    moved.save(buffer, "BMP")  # only the encoder reads it: no time for compression
    boxes = tuple((x1 + by[0], y1 + by[1], x2 + by[0], y2 + by[1]) for x1, y1, x2, y2 in step.boxes)
    return replace(step, screenshot=buffer.getvalue(), future=tuple(_moved(s, by) for s in step.future), boxes=boxes)


def _moved(step: PlanStep, by: Point) -> PlanStep:
    if step.action is None or step.action.point is None:
        return step
    changes: dict[str, Any] = {
        name: (place[0] + by[0], place[1] + by[1])
        for name in ("point", "end_point")
        if (place := getattr(step.action, name)) is not None
    }
    return replace(step, action=replace(step.action, **changes))


class WarmstartStream:
    """Yields the batches of one round per pass; a round is a fixed number of updates between two lines of figures.

    Args:
        batches: All of them, in order.
        per_round: How many a round has.
        workers: Processes that encode ahead.
        steps_of: (rank, number of ranks) -> that rank's steps from the beginning: to go on from another number of ranks.
        share: This rank and how many there are.
    """

    def __init__(
        self,
        batches: ExampleBatches,
        per_round: int,
        workers: int = 0,
        *,
        steps_of: Callable[[int, int], StepStream] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.batches, self.per_round, self.workers = batches, per_round, workers
        self.steps_of, self.share = steps_of, share
        self.given = 0
        self._loader: Iterator[SFTBatch] | None = None
        self._began = time.perf_counter()

    def __len__(self) -> int:
        return self.per_round

    def __iter__(self) -> Iterator[SFTBatch]:
        self._began = time.perf_counter()
        if self._loader is None:
            loader = DataLoader(self.batches.after(self.given), batch_size=None, num_workers=self.workers)
            self._loader = iter(loader)
        self.given += self.per_round  # before the first update: a checkpoint is only ever taken between rounds
        for _ in range(self.per_round):
            yield next(self._loader)

    def end_round(self) -> dict[str, float]:
        """The round's time."""
        return {"time/updating_s": time.perf_counter() - self._began}

    def check(self, figures: Mapping[str, float]) -> None:
        """Nothing is sampled, so nothing can disagree."""

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs to go on with the next round."""
        return {"given": self.given, "begin": self.batches.begin}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Takes what `position` gave."""
        self.given, self._loader = position["given"], None
        self.batches.begin = position.get("begin")

    def take_over(self, positions: Sequence[Mapping[str, Any]]) -> None:
        """Takes what `position` gave on each of another number of ranks.

        Where those stood in the data only reading tells: all that they have read is read again, not encoded.
        """
        given, states = positions[0]["given"], []
        for rank, position in enumerate(positions):
            steps, begin = self.steps_of(rank, len(positions)), position.get("begin")
            if begin is not None:
                steps.load_state_dict(begin["steps"])
            for _ in range((given - (begin["batch"] if begin else 0)) * self.batches.batch_size):
                next(steps)
            states.append(steps.state_dict())
            steps.close()
        mine = self.steps_of(*self.share)
        mine.take_over(states)
        self.restore({"given": given, "begin": {"batch": given, "steps": mine.state_dict()}})
