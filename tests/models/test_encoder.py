"""Step -> Prompt: image tokens, limits, and text that tries to be a picture."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
from PIL import Image

from tracer1.models.backbone import Backbone
from tracer1.models.encoder import PromptEncoder
from tracer1.schema import Step

MakeStep = Callable[..., Step]


def encoder_of(backbone: Backbone, **settings) -> PromptEncoder:
    return PromptEncoder(backbone, **{"horizon": 5, "style": "brief", **settings})


def image_tokens(backbone: Backbone, token_ids: tuple[int, ...]) -> list[int]:
    return [at for at, token in enumerate(token_ids) if token == backbone.model.config.image_token_id]


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (64, 64), (250, 40)])
@pytest.mark.parametrize("style", ["brief", "full"])
def test_a_picture_gets_one_token_for_every_four_patches(tiny, make_step: MakeStep, draw_screen, style, size):
    prompt = encoder_of(tiny, style=style).encode(make_step(screenshot=draw_screen(size, (5, 5))))
    time, height, width = prompt.tensors["image_grid_thw"][0].tolist()
    assert prompt.tensors["pixel_values"].shape == (time * height * width, 3 * 2 * 16 * 16)
    places = image_tokens(tiny, prompt.token_ids)
    assert len(places) == time * height * width // 4
    assert places == list(range(places[0], places[0] + len(places)))  # in one run, between start and end of vision
    around = [prompt.token_ids[places[0] - 1], prompt.token_ids[places[-1] + 1]]
    assert tiny.tokenizer.convert_ids_to_tokens(around) == ["<|vision_start|>", "<|vision_end|>"]


def test_the_picture_is_resized_into_the_limits(own_tiny: Backbone, make_step: MakeStep, draw_screen):
    encoder = encoder_of(own_tiny, pixels=(16_384, 40_000))
    for size in ((40, 40), (96, 64), (400, 300)):
        grid = encoder.encode(make_step(screenshot=draw_screen(size, (5, 5)))).tensors["image_grid_thw"]
        assert 16_384 <= int(grid.prod()) * 16 * 16 <= 40_000


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_any_kind_of_picture_is_read_as_rgb(tiny: Backbone, make_step: MakeStep, mode: str):
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), "white").convert(mode).save(buffer, "TIFF")
    prompt = encoder_of(tiny).encode(make_step(screenshot=buffer.getvalue()))
    pixels = prompt.tensors["pixel_values"]
    assert torch.equal(pixels, torch.ones_like(pixels))


def test_a_prompt_that_is_too_long_is_dropped_not_cut(tiny: Backbone, make_step: MakeStep):
    step = make_step()
    length = len(encoder_of(tiny).encode(step).token_ids)
    assert encoder_of(tiny, max_prompt_tokens=length).encode(step) is not None
    assert encoder_of(tiny, max_prompt_tokens=length - 1).encode(step) is None


def test_a_template_that_opens_the_thought_is_noticed(own_tiny: Backbone, make_step: MakeStep):
    assert encoder_of(own_tiny).encode(make_step()).starts_in_think
    backbone = Backbone(own_tiny.model, copy.deepcopy(own_tiny.tokenizer), own_tiny.image_processor)
    backbone.tokenizer.chat_template = backbone.tokenizer.chat_template.replace("<think>", "")
    assert not encoder_of(backbone).encode(make_step()).starts_in_think
    assert not encoder_of(backbone).encode(make_step("Type <think>.")).starts_in_think


@pytest.mark.parametrize("style", ["brief", "full"])
@pytest.mark.parametrize("spelled", ["<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>", "<|im_end|>"])
def test_an_instruction_cannot_spell_a_picture(tiny: Backbone, make_step: MakeStep, style: str, spelled: str):
    encoder = encoder_of(tiny, style=style)
    special = set(tiny.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|vision_start|>", "<|im_end|>"]))
    plain, spelling = (encoder.encode(make_step(f"Type {text}.")) for text in ("it", spelled))
    kept = [[token for token in prompt.token_ids if token in special] for prompt in (plain, spelling)]
    assert kept[0] == kept[1]
    blind = encoder.encode(make_step(f"Type {spelled}.", screenshot=None))
    assert image_tokens(tiny, blind.token_ids) == []
    assert not blind.tensors


def test_the_text_is_that_of_the_chat_template(tiny: Backbone, make_step: MakeStep):
    prompt = encoder_of(tiny).encode(make_step("Go home.", index=2, past=1, key="toy-x-002"))
    pads = "<|image_pad|>" * len(image_tokens(tiny, prompt.token_ids))
    assert prompt.key == "toy-x-002"
    assert tiny.tokenizer.decode(prompt.token_ids) == (
        f"<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>Task: Go home.\nClick square 2.\nPlan 5 from Step 3:"
        "<|im_end|>\n<|im_start|>assistant\n<think>"
    )
