"""Log-probs from hidden states: equal to the full logits', in blocks, and over the nucleus."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from tracer1.engines.transformers import draw
from tracer1.interfaces import Sampling
from tracer1.models import head
from tracer1.models.head import nucleus, token_scores

TOKENS, WIDTH, VOCABULARY = 7, 5, 11


@pytest.fixture
def case() -> tuple[torch.nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    lm_head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False).double()
    return (
        lm_head,
        torch.randn(TOKENS, WIDTH, dtype=torch.float64, requires_grad=True),
        torch.randint(VOCABULARY, (TOKENS,)),
    )


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_blocks_equal_the_whole_with_gradients(case, rows: int, monkeypatch: pytest.MonkeyPatch):
    lm_head, hidden, targets = case
    expected = lm_head(hidden).log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    weights = torch.linspace(-1, 1, TOKENS, dtype=torch.float64)
    monkeypatch.setattr(head, "LOGITS_AT_A_TIME", rows * VOCABULARY)
    got = token_scores(lm_head, hidden, targets, entropy=True)
    assert_close(got.logprobs, expected, atol=1e-12, rtol=0)
    spread = torch.distributions.Categorical(logits=lm_head(hidden)).entropy()
    assert_close(got.entropy, spread, atol=1e-12, rtol=0)
    assert not got.entropy.requires_grad
    inputs = (hidden, lm_head.weight)
    ours = torch.autograd.grad((got.logprobs * weights).sum(), inputs)
    for a, b in zip(ours, torch.autograd.grad((expected * weights).sum(), inputs), strict=True):
        assert_close(a, b, atol=1e-12, rtol=0)


def test_only_a_block_of_logits_exists_at_a_time(case, monkeypatch: pytest.MonkeyPatch):
    lm_head, hidden, targets = case
    monkeypatch.setattr(head, "LOGITS_AT_A_TIME", 2 * VOCABULARY)
    kept, rows = [], []

    def watched(hidden: torch.Tensor, weight: torch.Tensor, bias: None) -> torch.Tensor:
        rows.append(len(hidden))
        return torch.nn.functional.linear(hidden, weight, bias)

    monkeypatch.setattr(head, "linear", watched)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        token_scores(lm_head, hidden, targets)
    assert max(rows) == 2
    assert max(kept) <= max(2 * WIDTH, lm_head.weight.numel())  # hidden states and weights, never logits


def test_the_entropy_is_not_computed_again_in_the_backward_pass(case, monkeypatch: pytest.MonkeyPatch):
    lm_head, hidden, targets = case
    monkeypatch.setattr(head, "LOGITS_AT_A_TIME", 3 * VOCABULARY)
    exponentials = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            exponentials.extend([func] * (func == torch.ops.aten.exp_.default))  # only the entropy's is in place
            return func(*args, **(kwargs or {}))

    with Count():
        scores = token_scores(lm_head, hidden, targets, entropy=True)
        assert len(exponentials) == 3
        scores.logprobs.sum().backward()
    assert len(exponentials) == 3


def test_a_nucleus_worked_out_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    assert nucleus(logits, torch.tensor([0]), 0.7).tolist() == [[True, True, False, False]]  # 0.25 crosses the line
    assert nucleus(logits, torch.tensor([0]), 0.8).tolist() == [[True, True, True, False]]
    assert nucleus(logits, torch.tensor([3]), 0.4).tolist() == [[True, False, False, True]]  # what was sampled stays
    lm_head = torch.nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        lm_head.weight.copy_(torch.eye(4))
    got = token_scores(lm_head, logits, torch.tensor([1]), top_p=0.7).logprobs
    assert_close(got.exp(), torch.tensor([0.25 / 0.75]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=9), st.floats(0.05, 1.0), st.floats(0, 0.999999))
def test_what_the_engine_draws_is_in_the_nucleus(scores: list[float], top_p: float, uniform: float):
    logits = torch.tensor([scores])
    token, _ = draw(logits, torch.tensor([uniform], dtype=torch.float64), Sampling(1.0, top_p, 8))
    probs, kept = logits.softmax(-1)[0], nucleus(logits, logits.argmax(-1), top_p)[0]
    assert probs[token] >= probs[kept].min()  # of equally likely tokens on the line, either may be taken
