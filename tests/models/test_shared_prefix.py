"""One forward over a whole group equals one dense forward per sequence: values, and gradients of every parameter."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import Qwen3VLForConditionalGeneration

from tracer1.models import attention, head
from tracer1.models.backbone import Backbone
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.prefix_cache import extend, next_logits, prefill
from tracer1.models.shared_prefix import response_logprobs
from tracer1.schema import Prompt

Prompts = dict[str, Prompt]
Responses = Callable[..., list[list[int]]]


def dense_logits(model: Qwen3VLForConditionalGeneration, prompt: Prompt, response: Sequence[int]) -> Tensor:
    """(R, V) by the model's own forward over prompt and response as one plain sequence."""
    ids = torch.tensor([[*prompt.token_ids, *response]])
    images = {
        "image_grid_thw": prompt.tensors.get("image_grid_thw"),
        "pixel_values": prompt.tensors.get("pixel_values"),
    }
    out = model(input_ids=ids, mm_token_type_ids=(ids == model.config.image_token_id).int(), use_cache=False, **images)
    return out.logits[0, len(prompt.token_ids) - 1 : -1]


def dense_logprobs(model: Qwen3VLForConditionalGeneration, prompt: Prompt, response: Sequence[int]) -> Tensor:
    """(R,)"""
    logits = dense_logits(model, prompt, response)
    return logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])[:, 0]


def collate(backbone: Backbone, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]]):
    pad = backbone.pad_id
    return PromptBatch.collate(prompts, pad, backbone.rope_index), ResponseBatch.collate(responses, pad)


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    """Every parameter's gradient; they are cleared."""
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    return found


def both_paths(backbone: Backbone, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]]):
    """Log-probs of all response tokens and all gradients, of one random weighing of the tokens: shared, then dense."""
    model, group_size = backbone.model, len(responses) // len(prompts)
    weights = [torch.randn(len(r), generator=torch.Generator().manual_seed(i)) for i, r in enumerate(responses)]
    shared, _ = response_logprobs(model, *collate(backbone, prompts, responses))
    shared = [row[: len(r)] for row, r in zip(shared, responses, strict=True)]
    sum((w * lp).sum() for w, lp in zip(weights, shared, strict=True)).backward()
    shared_gradients = gradients(model)

    dense = [
        dense_logprobs(model, prompts[i // group_size], r) if r else torch.empty(0) for i, r in enumerate(responses)
    ]
    sum((w * lp).sum() for w, lp in zip(weights, dense, strict=True) if len(w)).backward()
    return shared, shared_gradients, dense, gradients(model)


CASES = {
    "one response": (["seen"], [6]),
    "a group of three, unequal lengths": (["seen"], [3, 9, 1]),
    "an empty row": (["seen"], [5, 0, 2]),
    "two pictures of different sizes": (["wide", "seen"], [4, 7, 1, 2, 2, 5]),
    "with and without a picture, groups of one": (["seen", "blind"], [4, 8]),
    "with and without a picture, groups of three": (["blind", "wide", "seen"], [3, 1, 5, 0, 6, 2, 2, 4, 1]),
    "no picture at all": (["blind"], [3, 5]),
    "two pictures in one prompt": (["two pictures"], [3, 0, 5]),
    "none, two and one": (["blind", "two pictures", "wide"], [1, 4, 6, 2, 3, 3]),
}


@pytest.mark.parametrize("two_calls", [True, False], ids=["two calls", "a mask"])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_dense_path_in_float64(
    tiny64: Backbone, prompts: Prompts, some_responses: Responses, case, two_calls: bool, monkeypatch
):
    monkeypatch.setattr(attention, "TWO_CALLS_FROM", 1 if two_calls else 10**9)
    names, lengths = CASES[case]
    shared, got, dense, expected = both_paths(tiny64, [prompts[n] for n in names], some_responses(lengths))
    for ours, theirs in zip(shared, dense, strict=True):
        assert_close(ours, theirs.to(ours.dtype), atol=1e-10, rtol=0)
    for name, gradient in expected.items():
        if gradient is None:
            assert got[name] is None, f"{name} has no part in the dense path"
        else:
            assert_close(got[name], gradient, atol=1e-10, rtol=1e-10, msg=lambda text, n=name: f"{n}: {text}")
    tower = [gradient for name, gradient in expected.items() if ".visual." in name]
    assert all(
        (g is not None and g.abs().max() > 1e-9) == (names != ["blind"]) for g in tower
    )  # the comparison is not of zeros


@pytest.mark.parametrize("two_calls", [True, False], ids=["two calls", "a mask"])
def test_equal_to_the_dense_path_in_float32(
    own_tiny: Backbone, prompts: Prompts, some_responses: Responses, two_calls: bool, monkeypatch
):
    monkeypatch.setattr(attention, "TWO_CALLS_FROM", 1 if two_calls else 10**9)
    chosen, responses = [prompts[n] for n in ("blind", "wide", "seen")], some_responses([3, 1, 5, 0, 6, 2, 2, 4, 1])
    shared, got, dense, expected = both_paths(own_tiny, chosen, responses)
    for ours, theirs in zip(shared, dense, strict=True):
        assert_close(ours, theirs, atol=1e-5, rtol=0)
    for name, gradient in expected.items():
        assert_close(got[name], gradient, atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}")


def test_every_pixel_patch_and_prompt_token_is_felt(tiny64: Backbone, prompts: Prompts, some_responses: Responses):
    # without this, equality above could be the equality of two paths that look at nothing
    (response,) = some_responses([4])
    model, prompt = tiny64.model, prompts["seen"]

    def last(tokens: Sequence[int], pixels: Tensor) -> Tensor:
        tensors = {**prompt.tensors, "pixel_values": pixels}
        batch = collate(tiny64, [Prompt("k", tuple(tokens), tensors)], [response])
        with torch.no_grad():
            return response_logprobs(model, *batch)[0][0, -1]

    pixels = prompt.tensors["pixel_values"]
    before = last(prompt.token_ids, pixels)
    for patch in range(0, len(pixels), 5):
        changed = pixels.clone()
        changed[patch] += 0.5
        assert (last(prompt.token_ids, changed) - before).abs() > 1e-8
    for at in [i for i, token in enumerate(prompt.token_ids) if token > 9][::4]:  # text, not control tokens
        tokens = list(prompt.token_ids)
        tokens[at] = 200 if tokens[at] != 200 else 201
        assert (last(tokens, pixels) - before).abs() > 1e-8


def test_an_empty_response_leaves_the_other_rows_alone(tiny64: Backbone, prompts: Prompts, some_responses: Responses):
    first, second = some_responses([5, 2])
    with torch.no_grad():
        full = response_logprobs(tiny64.model, *collate(tiny64, [prompts["seen"]], [first, second]))[0]
        holey = response_logprobs(tiny64.model, *collate(tiny64, [prompts["seen"]], [first, [], second, []]))[0]
    assert_close(holey[0], full[0], atol=1e-12, rtol=0)
    assert_close(holey[2, :2], full[1, :2], atol=1e-12, rtol=0)
    assert holey.isfinite().all()


def test_padding_has_no_influence(tiny64: Backbone, prompts: Prompts, some_responses: Responses):
    (response,) = some_responses([4])
    model = tiny64.model
    alone = collate(tiny64, [prompts["seen"]], [response])
    # a longer prompt beside it pads on the left, a longer response pads on the right; what the padding spells is all the same
    longer = Prompt("long", prompts["blind"].token_ids * 2, {})
    beside = collate(tiny64, [prompts["seen"], longer], [response, *some_responses([9])])
    for pad in (tiny64.pad_id, 123):
        beside[0].input_ids[beside[0].attention_mask == 0] = pad
        beside[1].input_ids[beside[1].mask == 0] = pad
        with torch.no_grad():
            got = response_logprobs(model, *beside)[0][0, :4]
        assert_close(got, response_logprobs(model, *alone)[0][0], atol=1e-12, rtol=0)


def test_a_response_that_spells_an_image_token_is_only_text(tiny64: Backbone, prompts: Prompts):
    # the model's own forward would look for a picture there; a sampled response may well hold such a token
    image, response = tiny64.model.config.image_token_id, [20, tiny64.model.config.image_token_id, 21]
    batch = collate(tiny64, [prompts["seen"]], [response])
    lp, _ = response_logprobs(tiny64.model, *batch)
    first = dense_logits(tiny64.model, prompts["seen"], [20, 30]).log_softmax(-1)
    assert_close(lp[0, :2], torch.stack([first[0, 20], first[1, image]]), atol=1e-10, rtol=0)


def test_positions_go_on_from_the_picture(tiny: Backbone, prompts: Prompts):
    """M-RoPE: what follows the prompt stands where get_rope_index puts it when the response is part of the sequence."""
    for names in (["seen"], ["wide", "blind"], ["blind", "seen", "wide"]):
        batch, _ = collate(tiny, [prompts[n] for n in names], [[20]] * len(names))
        for row, name in enumerate(names):
            ids = torch.tensor([[*prompts[name].token_ids, 20, 21, 22]])
            grid = prompts[name].tensors.get("image_grid_thw")
            whole, _ = tiny.rope_index(ids, torch.ones_like(ids), grid)
            assert whole[:, 0, -3:].tolist() == [[int(batch.next_position[row]) + i for i in range(3)]] * 3
            width = len(prompts[name].token_ids)
            assert_close(batch.position_ids[:, row, -width:], whole[:, 0, :-3])


def test_a_prompt_and_its_picture_are_encoded_once(own_tiny: Backbone, prompts: Prompts, some_responses: Responses):
    patches, columns = [], []
    tower, language = own_tiny.model.model.visual, own_tiny.model.model.language_model
    tower.register_forward_pre_hook(lambda _, args, kwargs: patches.append(len(args[0])), with_kwargs=True)
    language.register_forward_pre_hook(lambda _, a, kw: columns.append(kw["inputs_embeds"].shape[:2]), with_kwargs=True)
    batch = collate(own_tiny, [prompts["seen"], prompts["wide"]], some_responses([3] * 10))
    with torch.no_grad():
        response_logprobs(own_tiny.model, *batch)
    assert patches == [sum(len(prompts[n].tensors["pixel_values"]) for n in ("seen", "wide"))]
    tokens = sum(len(prompts[n].token_ids) for n in ("seen", "wide"))
    assert [tuple(shape) for shape in columns] == [(1, tokens + 10 * 2)]  # no padding; the last token needs no forward


def test_blocks_of_logits_change_nothing(
    tiny64: Backbone, prompts: Prompts, some_responses: Responses, monkeypatch: pytest.MonkeyPatch
):
    batch = collate(tiny64, [prompts["seen"]], some_responses([5, 3]))
    lp, entropy = response_logprobs(tiny64.model, *batch, entropy=True)
    monkeypatch.setattr(head, "LOGITS_AT_A_TIME", 3 * tiny64.model.lm_head.out_features)
    lp_blocks, entropy_blocks = response_logprobs(tiny64.model, *batch, entropy=True)
    assert_close(lp_blocks, lp, atol=1e-12, rtol=0)
    assert_close(entropy_blocks, entropy, atol=1e-12, rtol=0)


def test_entropy_is_that_of_the_whole_distribution(tiny64: Backbone, prompts: Prompts, some_responses: Responses):
    (response,) = some_responses([5])
    _, entropy = response_logprobs(tiny64.model, *collate(tiny64, [prompts["seen"]], [response]), entropy=True)
    expected = torch.distributions.Categorical(logits=dense_logits(tiny64.model, prompts["seen"], response)).entropy()
    assert_close(entropy[0], expected, atol=1e-10, rtol=0)
    assert not entropy.requires_grad


def test_reading_token_by_token_equals_reading_at_once(own_tiny: Backbone, prompts: Prompts, some_responses: Responses):
    """The engine's way: prefill, then one token at a time, with rows dropped in between."""
    model, responses = own_tiny.model.double(), some_responses([4, 4, 4])
    batch, _ = collate(own_tiny, [prompts["wide"]], responses)
    with torch.no_grad():
        state = prefill(model, batch, 3)
        for at in range(2):
            extend(model, state, torch.tensor([[r[at]] for r in responses]))
        before = next_logits(model, state)
        state.select(torch.tensor([2, 0]))
        assert torch.equal(next_logits(model, state), before[[2, 0]])
        for at in range(2, 4):
            extend(model, state, torch.tensor([[responses[2][at]], [responses[0][at]]]))
        got = next_logits(model, state)
        for row, response in enumerate((responses[2], responses[0])):
            expected = dense_logits(model, prompts["wide"], [*response, 0])[-1]
            assert_close(got[row], expected.float(), atol=1e-6, rtol=0)
