"""Expert steps as training examples: shifted screens, cut plans, place tokens, and one order for any number of workers."""

import io
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tracer1.errors import ConfigError
from tracer1.models.backbone import Backbone
from tracer1.models.encoder import PromptEncoder
from tracer1.models.sft import SFTBatch
from tracer1.parsing import parse_plan
from tracer1.schema import Plan, Step
from tracer1.training.warmstart import ExampleBatches, Recipe, WarmstartStream, cut_length, shifted

MakeStep = Callable[..., Step]
CENTRE = (48 / 96 * 1000, 28 / 64 * 1000)  # of the square that `draw_screen` draws at (40, 20)..(55, 35)


def red_box(screenshot: bytes) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of what is red on a white screen, in pixels."""
    with Image.open(io.BytesIO(screenshot)) as image:
        return image.convert("RGB").getchannel("G").point(lambda value: 255 - value).getbbox()


def pixel(step: Step, place: tuple[float, float]) -> tuple[int, int, int]:
    with Image.open(io.BytesIO(step.screenshot)) as image:
        return image.convert("RGB").getpixel((int(place[0] * image.width / 1000), int(place[1] * image.height / 1000)))


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (7, -5), (-20, 10), (30, 20)])
def test_pixels_and_places_move_together(make_step: MakeStep, dx: int, dy: int):
    step = make_step(places=[CENTRE], boxes=((416.0, 312.0, 583.0, 562.0),))
    moved = shifted(step, dx, dy)
    assert red_box(moved.screenshot) == (40 + dx, 20 + dy, 56 + dx, 36 + dy)
    point = moved.future[0].action.point
    assert point == pytest.approx((CENTRE[0] + dx / 96 * 1000, CENTRE[1] + dy / 64 * 1000))
    assert pixel(moved, point) == (255, 0, 0)
    left, upper, right, lower = moved.boxes[0]
    assert left <= point[0] <= right
    assert upper <= point[1] <= lower
    assert (moved.instruction, moved.history, moved.key) == (step.instruction, step.history, step.key)
    assert moved.future[0].action.step_instruction == step.future[0].action.step_instruction


@pytest.mark.parametrize(("dx", "dy"), [(49, 0), (-49, 0), (0, 37), (0, -29)])
def test_no_place_is_pushed_off_the_screen(make_step: MakeStep, dx: int, dy: int):
    step = make_step(places=[CENTRE])
    assert shifted(step, dx, dy) is step


def test_a_later_place_counts_too(make_step: MakeStep):
    step = make_step(places=[CENTRE, (990.0, 500.0)])
    assert shifted(step, 5, 0) is step
    assert shifted(step, -5, 0) is not step


def test_what_leaves_on_one_side_comes_in_on_the_other(make_step: MakeStep, draw_screen):
    step = make_step(places=[(500.0, 500.0)], screenshot=draw_screen(square=(0, 20)))
    assert red_box(shifted(step, -16, 0).screenshot) == (80, 20, 96, 36)


# --- batches -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def batches(tiny: Backbone, make_step: MakeStep) -> Callable[..., ExampleBatches]:
    """`batches(recipe, size)`: endless steps with one to four places to click, in batches."""
    counts = itertools.cycle([1, 3, 4, 2, 4])
    steps = [
        make_step(
            f"Click {n} squares.",
            index=i % 3,
            trajectory=f"t{i}",
            places=[(100.0 * k + i, 500.0) for k in range(1, n + 1)],
        )
        for i, n in zip(range(11), counts, strict=False)
    ]

    def make(recipe: Recipe = Recipe(), size: int = 3, **settings) -> ExampleBatches:  # noqa: B008  (it is frozen)
        encoder = PromptEncoder(tiny, horizon=4, style="brief", **settings)
        return ExampleBatches(lambda: itertools.cycle(steps), encoder, tiny, recipe, size)

    return make


def tensors(batch: object) -> Iterator[torch.Tensor]:
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, torch.Tensor):
            yield value
        elif value is not None:
            yield from tensors(value)


def same(first: SFTBatch, second: SFTBatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))


def texts(tiny: Backbone, batch: SFTBatch) -> list[str]:
    rows = zip(batch.responses.input_ids, batch.responses.mask.bool(), strict=True)
    return [tiny.tokenizer.decode(ids[mask]) for ids, mask in rows]


def plans(tiny: Backbone, batch: SFTBatch) -> list[Plan]:
    ends = [text.removesuffix("<|im_end|>") for text in texts(tiny, batch)]
    assert all(len(end) < len(text) for end, text in zip(ends, texts(tiny, batch), strict=True)), (
        "each ends with its end token"
    )
    return [parse_plan(text, starts_in_think=True) for text in ends]


RECIPE = Recipe(plan_cut=0.5, shift=6, seed=3)


def test_any_number_of_workers_gives_the_same_batches(batches):
    expected = list(itertools.islice(iter(batches(RECIPE)), 5))
    assert not same(expected[0], expected[1])
    for workers in (0, 1, 2):
        loader = DataLoader(batches(RECIPE), batch_size=None, num_workers=workers)
        got = list(itertools.islice(iter(loader), 5))
        assert all(same(a, b) for a, b in zip(got, expected, strict=True)), f"{workers} workers"


def test_going_on_gives_the_batches_that_were_left(batches):
    expected = list(itertools.islice(iter(batches(RECIPE)), 6))
    stream = WarmstartStream(batches(RECIPE), per_round=2)
    rounds = [list(stream), list(stream)]
    assert len(stream) == 2
    assert all(same(a, b) for a, b in zip(itertools.chain(*rounds), expected, strict=False))
    resumed = WarmstartStream(batches(RECIPE), per_round=2)
    resumed.restore(stream.position())
    assert all(same(a, b) for a, b in zip(resumed, expected[4:], strict=True))


def test_the_seed_of_a_recipe_changes_shifts_and_cuts(batches):
    first, second = (next(iter(batches(Recipe(plan_cut=0.5, shift=6, seed=seed)))) for seed in (1, 2))
    assert not same(first, second)


def test_an_uncut_plan_is_the_experts(tiny: Backbone, batches):
    examples = batches(Recipe())
    steps = list(itertools.islice(examples.stream(), 3))
    for plan, step in zip(plans(tiny, next(iter(examples))), steps, strict=True):
        assert plan.framed
        assert [s.action for s in plan.steps] == [s.action for s in step.future]
        assert [s.number for s in plan.steps] == [step.index + 1 + i for i in range(len(step.future))]


def test_a_cut_plan_keeps_its_first_steps(tiny: Backbone, batches):
    examples = batches(Recipe(plan_cut=0.5), size=11)
    steps, lengths = list(itertools.islice(examples.stream(), 11)), []
    for plan, step in zip(plans(tiny, examples.make(steps, 0)), steps, strict=True):
        kept = len(plan.steps)
        assert 1 <= kept <= len(step.future)
        assert [s.action for s in plan.steps] == [s.action for s in step.future[:kept]]
        assert [s.status for s in plan.steps] == [
            s.status for s in step.future[:kept]
        ]  # a cut plan does not claim to be done
        lengths.append(kept - len(step.future))
    assert min(lengths) < 0  # some were cut
    assert max(lengths) == 0  # and a random number of steps may be all of them


def test_place_tokens_are_the_digits_of_the_places(tiny: Backbone, batches):
    batch = next(iter(batches(Recipe())))
    for ids, mask, place, plan in zip(
        batch.responses.input_ids, batch.responses.mask, batch.place, plans(tiny, batch), strict=True
    ):
        assert not (place.bool() & ~mask.bool()).any()
        digits = "".join(c for c in tiny.tokenizer.decode(ids[place.bool()]) if c.isdigit())
        assert digits == "".join(f"{round(x)}{round(y)}" for x, y in (step.action.point for step in plan.steps))


def test_a_prompt_that_is_too_long_is_left_out(tiny: Backbone, batches, make_step: MakeStep):
    limit = len(PromptEncoder(tiny, horizon=4, style="brief").encode(make_step("Click 1 squares.")).token_ids)
    examples = batches(max_prompt_tokens=limit)
    short, long = make_step("Click 1 squares."), make_step("Click " * 50)
    assert len(examples.make([long, short, long], 0).responses.mask) == 1
    with pytest.raises(ConfigError, match=rf"All 2 prompts of batch 7 have more than {limit} tokens\. Raise"):
        examples.make([long, long], 7)


def test_a_plan_ends_after_each_step_with_the_same_chance():
    # chance 1/2 over plans of 3: 1 stays in 1/2 of the cases, 2 in 1/4, 3 in the rest
    rng = random.Random(0)
    counts = Counter(cut_length(3, 0.5, rng) for _ in range(4000))
    assert counts[1] / 4000 == pytest.approx(0.5, abs=0.03)
    assert counts[2] / 4000 == pytest.approx(0.25, abs=0.03)
    assert counts[3] / 4000 == pytest.approx(0.25, abs=0.03)
    assert cut_length(3, 0.0, rng) == 3
    assert cut_length(3, 1.0, rng) == 1
