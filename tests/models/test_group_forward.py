"""The shared prefix is checked on first use, and the plain path is taken when it fails, is not wanted, or saves nothing."""

import logging

import pytest
import torch
from torch.testing import assert_close

from tracer1.models import group_forward
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.dense import dense_logprobs
from tracer1.models.group_forward import GroupForward
from tracer1.models.shared_prefix import response_logprobs


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which path was taken, call by call."""
    taken: list[str] = []
    for name, path in (("response_logprobs", response_logprobs), ("dense_logprobs", dense_logprobs)):

        def spy(*args, name=name, path=path):
            taken.append(name.partition("_")[0])
            return path(*args)

        monkeypatch.setattr(group_forward, name, spy)
    return taken


@pytest.fixture
def batch(tiny, prompts, some_responses) -> tuple[PromptBatch, ResponseBatch]:
    chosen = [prompts[name] for name in ("two pictures", "blind", "wide")]
    responses = ResponseBatch.collate(some_responses([3, 1, 5, 0, 6, 2, 2, 4, 1]), tiny.pad_id)
    return PromptBatch.collate(chosen, tiny.pad_id, tiny.rope_index), responses


def test_it_checks_itself_once_then_shares(tiny, batch, paths: list[str]):
    forward = GroupForward()
    first, entropy = forward(tiny.model, *batch, entropy=True)
    again, none = forward(tiny.model, *batch)
    assert paths == ["response", "dense", "response", "response"]
    assert torch.equal(first, again)
    assert none is None
    plain, plain_entropy = dense_logprobs(tiny.model, *batch, True)
    assert_close(first, plain, atol=1e-5, rtol=0)
    assert_close(entropy, plain_entropy, atol=1e-5, rtol=0)
    assert (plain == 0).equal(batch[1].mask == 0)


def test_it_falls_back_and_says_by_how_much(tiny, batch, monkeypatch, caplog: pytest.LogCaptureFixture):
    def wrong(model, prompts, responses, *more):
        logprobs, entropy = response_logprobs(model, prompts, responses, *more)
        return logprobs + 0.5 * responses.mask, entropy

    monkeypatch.setattr(group_forward, "response_logprobs", wrong)
    forward = GroupForward()
    with caplog.at_level(logging.WARNING):
        got = [forward(tiny.model, *batch)[0] for _ in range(2)]
    assert all(torch.equal(g, dense_logprobs(tiny.model, *batch)[0]) for g in got)
    (record,) = caplog.records
    assert "shared prefix is off" in record.message
    assert "0.5 nats in the mean" in record.message


def test_not_a_number_is_not_trusted(tiny, batch, monkeypatch):
    broken = lambda model, prompts, responses, *more: (responses.mask * torch.nan, None)  # noqa: E731
    monkeypatch.setattr(group_forward, "response_logprobs", broken)
    assert GroupForward()(tiny.model, *batch)[0].isfinite().all()


def test_it_can_be_switched_off(tiny, batch, paths: list[str]):
    GroupForward(shared=False)(tiny.model, *batch)
    assert paths == ["dense"]


def test_short_prompts_take_the_plain_path(tiny, batch, paths: list[str]):
    mean = int(batch[0].attention_mask.sum()) / 3
    GroupForward(min_prefix=int(mean) + 1)(tiny.model, *batch)
    assert paths == ["dense"]
    GroupForward(min_prefix=int(mean))(tiny.model, *batch)
    assert paths[1:] == ["response", "dense", "response"]


def test_top_p_reaches_both_paths(tiny, batch):
    shared = GroupForward(top_p=0.5)(tiny.model, *batch)[0]
    dense = GroupForward(shared=False, top_p=0.5)(tiny.model, *batch)[0]
    assert_close(shared, dense, atol=1e-5, rtol=0)
    whole = GroupForward()(tiny.model, *batch)[0]
    assert (shared >= whole - 1e-5).all()  # the same mass on fewer tokens
    assert (shared > whole + 0.1).any()


def test_bfloat16_is_equal_in_the_mean(own_tiny, batch):
    own_tiny.model.bfloat16()
    with torch.no_grad():
        shared = response_logprobs(own_tiny.model, *batch)[0]
        dense = dense_logprobs(own_tiny.model, *batch)[0]
    difference = (shared - dense)[batch[1].mask.bool()]
    assert difference.abs().mean() < group_forward.TOLERANCE[torch.bfloat16]
    assert difference.mean().abs() < 0.02
