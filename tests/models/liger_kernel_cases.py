"""The real kernel's numbers. test_liger.py runs this in a process of its own, where Triton interprets kernels on the CPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tracer1.models import head, liger
from tracer1.models.backbone import Backbone
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.dense import dense_logprobs
from tracer1.models.head import token_scores
from tracer1.models.liger import LigerHead, use_liger
from tracer1.models.shared_prefix import response_logprobs
from tracer1.schema import Prompt

TOKENS, WIDTH = 23, 32


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liger, "DEVICE", "cpu")


def scored(fused: bool, vocabulary: int, dtype: torch.dtype) -> list[Tensor]:
    """Log-probs, entropies and both gradients, each token weighted by itself."""
    generator = torch.Generator().manual_seed(5)
    model = torch.nn.Module()
    model.lm_head = torch.nn.Linear(WIDTH, vocabulary, bias=False, dtype=dtype)
    with torch.no_grad():
        model.lm_head.weight.copy_(0.3 * torch.randn(vocabulary, WIDTH, generator=generator))
    hidden = torch.randn(TOKENS, WIDTH, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(vocabulary, (TOKENS,), generator=generator)
    weights = torch.randn(TOKENS, generator=generator)
    use_liger(model, fused)
    assert liger.serves(model.lm_head, hidden) == fused
    found = token_scores(model.lm_head, hidden, targets, entropy=True)
    assert found.logprobs.dtype in (torch.float32, torch.float64)
    gradients = torch.autograd.grad((found.logprobs * weights).sum(), (hidden, model.lm_head.weight))
    return [found.logprobs.detach(), found.entropy, *gradients]


def difference(ours: list[Tensor], theirs: list[Tensor]) -> list[float]:
    return [float((a.double() - b.double()).abs().max()) for a, b in zip(ours, theirs, strict=True)]


@pytest.mark.parametrize("vocabulary", [11, 1000, 40_001])  # one and two of the kernel's blocks
@pytest.mark.parametrize("rows", [5, 100])
def test_in_float32_it_is_the_plain_head(vocabulary: int, rows: int, monkeypatch: pytest.MonkeyPatch):
    plain = scored(False, vocabulary, torch.float32)
    monkeypatch.setattr(head, "LOGITS_AT_A_TIME", rows * WIDTH)
    logprobs, entropies, *gradients = difference(scored(True, vocabulary, torch.float32), plain)
    assert max(logprobs, entropies) < 1e-5
    for found, of in zip(gradients, plain[2:], strict=True):  # the order of a sum over 40,001 tokens is felt
        assert found < 1e-5 * float(of.abs().max())


def test_in_bfloat16_log_probs_are_those_of_the_same_logits_and_gradients_round_like_them():
    fused, plain = (scored(kind, 1000, torch.bfloat16) for kind in (True, False))
    logprobs, entropies, *gradients = difference(fused, plain)
    assert max(logprobs, entropies) < 1e-5
    for found, of in zip(gradients, plain[2:], strict=True):
        assert found < 0.02 * float(of.abs().max())


@pytest.mark.parametrize("path", [response_logprobs, dense_logprobs])
def test_a_whole_model_has_the_same_log_probs_and_gradients(
    own_tiny: Backbone, prompts: dict[str, Prompt], some_responses: Callable[..., list[list[int]]], path: Callable
):
    model, pad = own_tiny.model.train(), own_tiny.pad_id
    asked = PromptBatch.collate([prompts["seen"], prompts["wide"]], pad, own_tiny.rope_index)
    given = ResponseBatch.collate(some_responses([4, 2, 7, 1]), pad)
    weights = torch.randn(given.mask.shape, generator=torch.Generator().manual_seed(6))
    found = []
    for kind in (False, True):
        use_liger(model, kind)
        model.zero_grad()
        logprobs, entropies = path(model, asked, given, True)
        (logprobs * weights).sum().backward()
        with torch.no_grad():
            assert torch.equal(path(model, asked, given)[0], logprobs)  # old and new log-probs of the same weights
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append([logprobs.detach(), entropies, *gradients])
    assert isinstance(model.lm_head, LigerHead)
    assert len(found[0]) == 2 + sum(1 for _ in model.parameters())
    largest = max(float(part.abs().max()) for part in found[0][2:])
    logprobs, entropies, *gradients = difference(*found)
    assert max(logprobs, entropies) < 1e-5
    assert max(gradients) < 1e-6 * largest
