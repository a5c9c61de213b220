"""Parameters and operations against the real classes and PyTorch's counter; kept bytes against what autograd keeps."""

from collections.abc import Callable

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from tracer1.models.backbone import Backbone
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.costs import (
    Group,
    activations,
    cache_bytes,
    count_parameters,
    forward_flops,
    image_tokens,
    layer_activations,
    lora_parameters,
    update_flops,
)
from tracer1.models.shapes import PUBLISHED, ModelShape, TextShape, VisionShape, read_shape
from tracer1.models.shared_prefix import response_logprobs
from tracer1.schema import Prompt

GRID = (10, 14)  # patches


def hub_config(shape: ModelShape) -> Qwen3VLConfig:
    """The transformers configuration of a shape."""
    text, vision = shape.text, shape.vision
    return Qwen3VLConfig(
        text_config={
            "num_hidden_layers": text.layers,
            "hidden_size": text.hidden,
            "num_attention_heads": text.heads,
            "num_key_value_heads": text.key_heads,
            "head_dim": text.head_dim,
            "intermediate_size": text.intermediate,
            "vocab_size": text.vocabulary,
        },
        vision_config={
            "depth": vision.depth,
            "hidden_size": vision.hidden,
            "intermediate_size": vision.intermediate,
            "out_hidden_size": vision.out,
            "num_heads": vision.heads,
            "deepstack_visual_indexes": list(range(vision.deepstack)),
        },
        tie_word_embeddings=text.tied,
    )


def shape_of(backbone: Backbone) -> ModelShape:
    backbone_config = backbone.model.config
    text, vision = backbone_config.text_config, backbone_config.vision_config
    return ModelShape(
        "tiny",
        TextShape(
            text.num_hidden_layers,
            text.hidden_size,
            text.num_attention_heads,
            text.num_key_value_heads,
            text.head_dim,
            text.intermediate_size,
            text.vocab_size,
            backbone_config.tie_word_embeddings,
        ),
        VisionShape(
            vision.depth,
            vision.hidden_size,
            vision.intermediate_size,
            vision.out_hidden_size,
            len(vision.deepstack_visual_indexes),
            vision.num_heads,
            vision.num_position_embeddings,
        ),
        (1, 2),
    )


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.endswith("Thinking")])
def test_parameters_of_every_published_size(name: str):
    shape = read_shape(name)
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(hub_config(shape))
    counted = count_parameters(shape)
    assert counted.total == sum(p.numel() for p in model.parameters())
    assert counted.vision == sum(p.numel() for p in model.model.visual.parameters())
    assert counted.layers + counted.embedding == sum(p.numel() for p in model.model.language_model.parameters())


@pytest.mark.parametrize(("size", "billions"), [("2B", 2.13), ("4B", 4.44), ("8B", 8.77), ("32B", 33.36)])
def test_parameters_are_those_of_the_model_cards(size: str, billions: float):
    assert count_parameters(read_shape(f"Qwen/Qwen3-VL-{size}-Thinking")).total / 1e9 == pytest.approx(
        billions, abs=5e-3
    )


def test_parameters_of_the_tiny_planner(tiny: Backbone):
    assert count_parameters(shape_of(tiny)).total == sum(p.numel() for p in tiny.model.parameters())


def test_parameters_of_lora(tiny: Backbone):
    peft = pytest.importorskip("peft")
    from tracer1.models.adapters import add_lora
    from tracer1.models.options import LoRA

    assert peft
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(tiny.model.config)
    add_lora(model, LoRA(rank=8))
    assert lora_parameters(shape_of(tiny).text, 8) == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("size", [(1920, 1080), (160, 210), (33, 900), (2880, 1800), (320, 224), (31, 31), (720, 1612)])
@pytest.mark.parametrize("pixels", [(32_768, 65_536), (262_144, 4_194_304), (65_536, 16_777_216)])
def test_image_tokens_are_those_of_the_processor(size: tuple[int, int], pixels: tuple[int, int]):
    width, height = size
    resized = smart_resize(height, width, 32, *pixels)
    vision = read_shape(PUBLISHED[0]).vision
    assert image_tokens(vision, width, height, pixels) == resized[0] * resized[1] // 32**2


def test_pairs_are_those_of_the_mask():
    group = Group(prompt=7, image=4, response=3, size=5)
    dense = torch.ones(10, 10).tril().sum()
    assert group.pairs(shared=False) == 5 * dense
    assert group.pairs() == 5 * (dense - torch.ones(7, 7).tril().sum()) + torch.ones(7, 7).tril().sum()
    assert (group.tokens(), group.tokens(shared=False)) == (7 + 15, 50)


def test_the_papers_case_is_the_written_arithmetic():
    """P = 3,000 (2,040 of them image), R = 1,000, n = 5, 8B: 2.6 times fewer operations, by hand from the shapes."""
    shape, group = read_shape("Qwen/Qwen3-VL-8B-Thinking"), Group(3000, 2040, 1000, 5)
    flops, dense = forward_flops(shape, group), forward_flops(shape, group, shared=False)
    assert flops.linear == 2 * 36 * (4096 * (4096 * 2 + 1024 * 2) + 3 * 4096 * 12288) * 8000
    assert flops.head == dense.head == 2 * 4096 * 151_936 * 5000
    assert flops.vision / 1e12 == pytest.approx(15.7, abs=0.1)
    assert dense.total / flops.total == pytest.approx(2.64, abs=0.01)
    assert cache_bytes(shape.text, 2) == 147_456


def _forward(model: Qwen3VLForConditionalGeneration, tokens: int) -> torch.Tensor:
    """A picture through the tower, a row of tokens through the layers (a picture's place in it is of no account), the head."""
    grid = torch.tensor([[1, *GRID]])
    pixels = torch.randn(GRID[0] * GRID[1], 1536, dtype=model.dtype)
    seen = model.model.visual(pixels, grid_thw=grid)
    picture = torch.zeros(1, tokens, dtype=torch.bool)
    picture[:, : len(seen.pooler_output)] = True
    embeds = model.get_input_embeddings()(torch.arange(tokens)[None] % 50)
    out = model.model.language_model(
        inputs_embeds=embeds.masked_scatter(picture[..., None], seen.pooler_output),
        position_ids=torch.arange(tokens).expand(3, 1, -1),
        visual_pos_masks=picture,
        deepstack_visual_embeds=seen.deepstack_features,
        use_cache=False,
    )
    return model.lm_head(out.last_hidden_state)


@pytest.fixture
def plain(own_tiny: Backbone) -> Backbone:
    """With transformers' own attention, which the counter can look into."""
    own_tiny.model.set_attn_implementation("sdpa")
    return own_tiny


def test_operations_are_what_pytorch_counts(plain: Backbone):
    """Exactly, with the pairs of a full square: PyTorch counts masked pairs too."""
    shape, tokens = shape_of(plain), 64
    image = GRID[0] * GRID[1] // 4
    flops = forward_flops(shape, Group(0, image, tokens, 1))
    square = flops.attention / Group(0, image, tokens, 1).pairs() * tokens**2
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        out = _forward(plain.model, tokens)
    assert counter.get_total_flops() == flops.vision + flops.linear + square + flops.head
    forward = counter.get_total_flops()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        out.float().sum().backward()
    whole = update_flops(flops) + 3 * (square - flops.attention)
    patches = 2 * GRID[0] * GRID[1] * shape.vision.patch_width * shape.vision.hidden  # pixels want no gradient
    assert forward + counter.get_total_flops() == whole - patches


def test_operations_with_frozen_weights(plain: Backbone):
    """Adapters alone are trained: their products' gradients, not those of the weights."""
    shape, tokens = shape_of(plain), 64
    flops = forward_flops(shape, Group(0, 0, tokens, 1))
    model = plain.model.requires_grad_(False)
    embeds = torch.randn(1, tokens, shape.text.hidden, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        hidden = model.model.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        model.lm_head(hidden).sum().backward()
    square = flops.attention / Group(0, 0, tokens, 1).pairs() * tokens**2
    expected = update_flops(flops, adapters_only=True, frozen_vision=True) + 3 * (square - flops.attention)
    assert counter.get_total_flops() == expected


def kept(model: Qwen3VLForConditionalGeneration, tokens: int) -> int:
    return kept_by(model, lambda: _forward(model, tokens))


def kept_by(model: Qwen3VLForConditionalGeneration, forward: Callable[[], torch.Tensor]) -> int:
    """Bytes of the storages that autograd keeps, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = forward()
    assert out.requires_grad
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [128, 512])
def test_kept_bytes_are_what_autograd_keeps(plain: Backbone, dtype: torch.dtype, tokens: int, checkpointing: bool):
    """To 10 per cent."""
    model, shape = plain.model.to(dtype).train(), shape_of(plain)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    estimate = activations(shape, tokens, GRID[0] * GRID[1], dtype.itemsize, checkpointing)
    assert kept(model, tokens) == pytest.approx(estimate.kept, rel=0.1)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_bytes_of_packed_groups(own_tiny: Backbone, dtype: torch.dtype, checkpointing: bool):
    """The forward that trains: two groups of five in one row, to 10 per cent with the keys beside each response and the logits."""
    model, shape = own_tiny.model.to(dtype).train(), shape_of(own_tiny)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    group = Group(prompt=128, image=35, response=200, size=5)
    ids = (*[model.config.image_token_id] * group.image, *range(20, 20 + group.prompt - group.image))
    image = {"pixel_values": torch.randn(140, 1536), "image_grid_thw": torch.tensor([[1, *GRID]])}
    prompts = PromptBatch.collate([Prompt("k", ids, image)] * 2, own_tiny.pad_id, own_tiny.rope_index)
    responses = ResponseBatch.collate([[20] * group.response] * 10, own_tiny.pad_id)
    estimate = activations(shape, 2 * group.tokens(), 2 * 140, dtype.itemsize, checkpointing).kept
    layers = 0 if checkpointing else shape.text.layers
    keys = layers * 10 * (group.prompt + group.response) * 2 * shape.text.key_width * dtype.itemsize
    logits = 10 * group.response * shape.text.vocabulary * 4
    found = kept_by(model, lambda: response_logprobs(model, prompts, responses)[0])
    assert found == pytest.approx(estimate + keys + logits, rel=0.1)


def test_what_is_computed_again_is_one_layer():
    shape = read_shape("Qwen/Qwen3-VL-8B-Thinking")
    whole, saved = (activations(shape, 8000, 8160, 2, checkpointing) for checkpointing in (False, True))
    assert whole.again == 0
    assert saved.again == 8000 * layer_activations(shape.text, 2)
    assert saved.total < whole.total / 8
