"""The tiny planner's tokenizer and weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer1.models.backbone import Backbone
from tracer1.models.tiny import CONTROL_TOKENS, THINK_TOKENS, make_tiny_planner


@pytest.mark.parametrize("text", ['"point": [512, 133]', "1234567890", "a1b22c333", "Step 10: 2026-08-23", " 7 77"])
def test_every_digit_is_a_token_of_its_own(tiny: Backbone, text: str):
    tokens = [tiny.tokenizer.decode([token]) for token in tiny.tokenizer(text)["input_ids"]]
    assert "".join(tokens) == text
    assert [token for token in tokens if any(c.isdigit() for c in token)] == [c for c in text if c.isdigit()]


@given(text=st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_survives_the_tokenizer(tiny: Backbone, text: str):
    assert tiny.tokenizer.decode(tiny.tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize(
    "text",
    ["日本語 — ünïcödé 🚀👩‍👩‍👧", " two  spaces \n\n and\ttabs ", "it 's . , ! ?", '{"a": ["b", "é"]}', "e\u0301"],
)
def test_text_that_tokenizers_like_to_tidy_up(tiny: Backbone, text: str):
    assert tiny.tokenizer.decode(tiny.tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_control_tokens_are_whole_and_left_out_of_responses(tiny: Backbone):
    for token in (*CONTROL_TOKENS, *THINK_TOKENS):
        assert len(tiny.tokenizer(token)["input_ids"]) == 1
    ids = tiny.tokenizer("<think>why</think>so<|im_end|>")["input_ids"]
    assert (
        tiny.tokenizer.decode(ids, skip_special_tokens=True) == "<think>why</think>so"
    )  # the parser needs the think tags


def test_the_chat_template_is_qwens_layout(tiny: Backbone):
    messages = [
        {"role": "system", "content": "Plan."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Go."}]},
    ]
    body = (
        "<|im_start|>system\nPlan.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Go.<|im_end|>\n"
    )
    render = tiny.tokenizer.apply_chat_template
    assert render(messages, tokenize=False) == body
    assert render(messages, tokenize=False, add_generation_prompt=True) == body + "<|im_start|>assistant\n<think>"


def test_responses_end_at_either_end_token(tiny: Backbone):
    assert tiny.stop_ids == set(tiny.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]))
    assert tiny.pad_id == tiny.tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_a_seed_means_the_same_weights_and_leaves_the_global_noise_alone():
    def weights(seed: int) -> list[torch.Tensor]:
        return list(make_tiny_planner(["Task: go. 0123456789"] * 2, seed).model.state_dict().values())

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = weights(1), weights(1), weights(2)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
