"""Padding: prompts end in the same column, responses begin in it; a batch moves as a whole."""

from dataclasses import fields

import torch

from tracer1.models.batch import MicroBatch, PromptBatch, ResponseBatch
from tracer1.schema import Prompt

PAD = 99


def plain_rope(ids: torch.Tensor, mask: torch.Tensor, grids: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Text only: positions count the tokens, and the next one is as far as there are tokens."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return positions.expand(3, -1, -1), torch.zeros(len(ids), 1, dtype=torch.long)


def test_prompts_are_padded_on_the_left():
    batch = PromptBatch.collate([Prompt("a", (1, 2, 3), {}), Prompt("b", (4,), {})], PAD, plain_rope)
    assert batch.input_ids.tolist() == [[1, 2, 3], [PAD, PAD, 4]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch.next_position.tolist() == [3, 1]
    assert batch.pixel_values is None
    assert batch.image_grid_thw is None


def test_pictures_are_joined_in_the_order_of_the_prompts():
    def seen(key: str, value: float, patches: int) -> Prompt:
        tensors = {
            "pixel_values": torch.full((patches, 3), value),
            "image_grid_thw": torch.tensor([[1, 2, patches // 2]]),
        }
        return Prompt(key, (1, 2), tensors)

    batch = PromptBatch.collate([seen("a", 1.0, 4), Prompt("b", (3,), {}), seen("c", 2.0, 8)], PAD, plain_rope)
    assert batch.pixel_values[:, 0].tolist() == [1.0] * 4 + [2.0] * 8
    assert batch.image_grid_thw.tolist() == [[1, 2, 2], [1, 2, 4]]


def test_responses_are_padded_on_the_right():
    batch = ResponseBatch.collate([[1, 2, 3], [], [4]], PAD)
    assert batch.input_ids.tolist() == [[1, 2, 3], [PAD, PAD, PAD], [4, PAD, PAD]]
    assert batch.mask.tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]


def test_only_empty_responses_are_one_column_of_padding():
    batch = ResponseBatch.collate([[], []], PAD)
    assert (batch.input_ids.tolist(), batch.mask.tolist()) == ([[PAD], [PAD]], [[0], [0]])


def test_a_micro_batch_moves_as_a_whole():
    prompts = PromptBatch.collate([Prompt("a", (1, 2), {})], PAD, plain_rope)
    values = torch.zeros(2, 3)
    batch = MicroBatch(prompts, ResponseBatch.collate([[1], [2]], PAD), torch.zeros(2), values, None, values, 2.0, 1)
    moved = batch.to("meta")  # the device that every machine has, and that no tensor is on by itself
    parts = [moved, moved.prompts, moved.responses]
    tensors = [v for part in parts for f in fields(part) if isinstance(v := getattr(part, f.name), torch.Tensor)]
    assert len(tensors) == 3 + 5 + 2
    assert all(tensor.device.type == "meta" for tensor in tensors)
    assert (moved.denominator, moved.parts, moved.ref_logprobs, moved.prompts.pixel_values) == (2, 1, None, None)
    assert batch.advantages.device.type == "cpu"
