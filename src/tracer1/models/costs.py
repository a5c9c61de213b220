"""What a Qwen3-VL costs: parameters, operations, bytes, as pure functions of its sizes. No torch, no config, no device.

Parameters and the operations of matrix products are exact (the tests compare them with the real classes and with PyTorch's
counter); bytes kept for the backward pass follow what transformers' layers save, to a few per cent.
"""

import math
from dataclasses import dataclass

from tracer1.models.shapes import ModelShape, TextShape, VisionShape

FLOAT32 = 4  # bytes


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many there are, by part."""

    embedding: int
    layers: int  # of the language model, its last norm included
    head: int  # 0 when it is the embedding
    vision: int

    @property
    def total(self) -> int:
        return self.embedding + self.layers + self.head + self.vision


def count_parameters(shape: ModelShape) -> Parameters:
    """Of the whole model."""
    text, table = shape.text, shape.text.vocabulary * shape.text.hidden
    norms = 2 * text.head_dim + 2 * text.hidden
    layers = text.layers * (layer_weights(text) + norms) + text.hidden
    return Parameters(table, layers, 0 if text.tied else table, _vision_parameters(shape.vision))


def layer_weights(text: TextShape) -> int:
    """Parameters of one text layer that take part in matrix products: q, k, v, o and the gated MLP."""
    attention = text.hidden * (2 * text.query_width + 2 * text.key_width)
    return attention + 3 * text.hidden * text.intermediate


def lora_parameters(text: TextShape, rank: int) -> int:
    """Of adapters on all seven linear layers of every text layer: rank times (in + out) each."""
    attention = 2 * (text.hidden + text.query_width) + 2 * (text.hidden + text.key_width)
    return text.layers * rank * (attention + 3 * (text.hidden + text.intermediate))


def _vision_parameters(vision: VisionShape) -> int:
    width, wide = vision.hidden, vision.hidden * vision.merge**2
    weights = 4 * width * width + 2 * width * vision.intermediate
    block = weights + 4 * width + width + vision.intermediate + 4 * width  # biases of attention and MLP, two norms
    merger = wide * wide + wide + wide * vision.out + vision.out
    norms = 2 * width + vision.deepstack * 2 * wide
    patches = vision.patch_width * width + width + vision.positions * width
    return patches + vision.depth * block + (1 + vision.deepstack) * merger + norms


# --- tokens ------------------------------------------------------------------------------------------------------------------


def image_tokens(vision: VisionShape, width: int, height: int, pixels: tuple[int, int]) -> int:
    """Tokens of a picture of width x height after it was resized to between `pixels[0]` and `pixels[1]` pixels."""
    side = vision.side
    columns, rows = max(1, round(width / side)), max(1, round(height / side))
    area = columns * rows * side * side
    if area > pixels[1]:
        shrink = math.sqrt(pixels[1] / (width * height))
        columns, rows = (max(1, math.floor(length * shrink / side)) for length in (width, height))
    elif area < pixels[0]:
        grow = math.sqrt(pixels[0] / (width * height))
        columns, rows = (math.ceil(length * grow / side) for length in (width, height))
    return columns * rows


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt with one picture, and its n responses."""

    prompt: int  # tokens, those of the picture included
    image: int  # tokens
    response: int  # tokens
    size: int  # n

    def tokens(self, shared: bool = True) -> int:
        """Tokens that go through the language model: the prompt once, or once for each response."""
        return (1 if shared else self.size) * self.prompt + self.size * self.response

    def pairs(self, shared: bool = True) -> int:
        """(query, key) pairs of causal attention."""
        own = self.prompt * (self.prompt + 1) // 2
        each = self.response * self.prompt + self.response * (self.response + 1) // 2
        return (1 if shared else self.size) * own + self.size * each


# --- operations --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flops:
    """Of one forward pass: floating-point operations of matrix products, a multiplication and an addition each."""

    vision: float
    linear: float
    attention: float
    head: float

    @property
    def total(self) -> float:
        return self.vision + self.linear + self.attention + self.head

    @property
    def text(self) -> float:
        return self.linear + self.attention


def forward_flops(shape: ModelShape, group: Group, shared: bool = True) -> Flops:
    """Of one group; the head is asked for response tokens only."""
    text = shape.text
    pictures = 1 if shared else group.size
    return Flops(
        pictures * vision_flops(shape.vision, group.image * shape.vision.merge**2),
        2 * text.layers * layer_weights(text) * group.tokens(shared),
        4 * text.layers * text.query_width * group.pairs(shared),
        2 * text.hidden * text.vocabulary * group.size * group.response,
    )


def vision_flops(vision: VisionShape, patches: int) -> int:
    """Of the tower on one picture: every patch attends to every patch."""
    width, wide = vision.hidden, vision.hidden * vision.merge**2
    block = patches * (4 * width * width + 2 * width * vision.intermediate) + 2 * patches**2 * width
    merger = patches // vision.merge**2 * (wide * wide + wide * vision.out)
    return 2 * (patches * vision.patch_width * width + vision.depth * block + (1 + vision.deepstack) * merger)


def update_flops(
    forward: Flops, *, adapters_only: bool = False, frozen_vision: bool = False, recompute: bool = False
) -> float:
    """Of forward and backward: a product costs two more of its size, one where its weights are not trained.

    Attention costs two more (a kernel that computes the scores anew does half a forward more; it is not counted).

    Args:
        forward: Of the same tokens.
        adapters_only: Nothing but adapters is trained (their own few operations are left out).
        frozen_vision: The tower needs no backward, and its features were made before.
        recompute: Layers are computed again in the backward pass (gradient checkpointing).
    """
    weights = 1 if adapters_only else 2
    vision = 0 if frozen_vision else forward.vision * (3 + recompute)
    layers = forward.linear * (1 + weights + recompute) + forward.attention * (3 + recompute)
    return vision + layers + forward.head * (1 + weights)


# --- bytes -------------------------------------------------------------------------------------------------------------------


def cache_bytes(text: TextShape, itemsize: int) -> int:
    """Keys and values of one token in all layers."""
    return 2 * text.layers * text.key_width * itemsize


def layer_activations(text: TextShape, itemsize: int) -> int:
    """Bytes that one text layer keeps of one token for the backward pass.

    The norms keep a float32 copy of what they read (in float32 the stream itself) and its normalised value; the products their
    inputs; attention its queries, keys, values and output; the MLP four tensors of its width.
    """
    stream = 2 * text.hidden * (FLOAT32 + 2 * itemsize)
    attention = (text.query_width + text.key_width) * (FLOAT32 + 3 * itemsize) + text.heads * FLOAT32
    return stream + attention + 4 * text.intermediate * itemsize


def block_activations(vision: VisionShape, itemsize: int) -> int:
    """Bytes that one vision block keeps of one patch."""
    return (11 * vision.hidden + 2 * vision.intermediate) * itemsize + vision.heads * FLOAT32


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes that a forward pass leaves for the backward pass."""

    kept: int
    again: int  # of the one layer that is computed again while its gradients are; 0 without gradient checkpointing

    @property
    def total(self) -> int:
        return self.kept + self.again


def activations(shape: ModelShape, tokens: int, patches: int, itemsize: int, checkpointing: bool) -> Activations:
    """Of one micro-batch, the head's logits left out.

    Args:
        shape: The model.
        tokens: Through the language model.
        patches: Through the vision tower with gradients; 0 when it is frozen.
        itemsize: Bytes of a number: 2 in bfloat16.
        checkpointing: Every layer keeps its input only.
    """
    text, vision = shape.text, shape.vision
    layer, block = tokens * layer_activations(text, itemsize), patches * block_activations(vision, itemsize)
    mergers = patches * (1 + vision.deepstack) * 3 * vision.hidden * itemsize
    entry = patches * (vision.patch_width + 4 * vision.hidden) * itemsize
    last_norm = tokens * text.hidden * (FLOAT32 + 2 * itemsize)
    around = mergers + entry + last_norm
    if checkpointing:
        inputs = tokens * text.layers * text.hidden + patches * vision.depth * vision.hidden
        return Activations(inputs * itemsize + around, max(layer, block))
    return Activations(text.layers * layer + vision.depth * block + around, 0)
