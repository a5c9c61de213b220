"""Liger's kernel for log-probs: when it is taken, that it is compared before it is trusted, and, where installed, its numbers."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tracer1.errors import ConfigError, MissingDependency
from tracer1.models import head, liger
from tracer1.models.head import token_scores
from tracer1.models.liger import LigerHead, use_liger
from tracer1.models.options import ModelOptions
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import make_reference

TOKENS, WIDTH, VOCABULARY = 7, 5, 11
REAL = find_spec("liger_kernel") is not None and find_spec("triton") is not None


class FakeKernel:
    """Stands in for Liger's function, in PyTorch; notes how many tokens each call had."""

    def __init__(self, weighs: bool = True) -> None:
        self.weighs, self.calls = weighs, []

    def __call__(self, hidden: Tensor, weight: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
        assert reduction == "none"
        self.calls.append(len(hidden))
        losses = -(hidden @ weight.T).float().log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        if self.weighs:
            return losses
        total = losses.sum()  # before 0.8.4: the gradient of the sum, whatever a token's weight
        return losses.detach() + (total - total.detach()) / len(losses)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeKernel]:
    """`install(weighs=True)` -> a liger-kernel that runs on this CPU."""

    def make(weighs: bool = True) -> FakeKernel:
        kernel = FakeKernel(weighs)
        for name in ("liger_kernel", "liger_kernel.transformers", "liger_kernel.transformers.functional"):
            module = ModuleType(name)
            module.__spec__ = ModuleSpec(name, None)
            monkeypatch.setitem(sys.modules, name, module)
        module.liger_fused_linear_cross_entropy = kernel
        monkeypatch.setattr(liger, "DEVICE", "cpu")
        liger._equals_plain.cache_clear()
        return kernel

    yield make
    liger._equals_plain.cache_clear()


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liger, "find_spec", lambda name: None)


def model_with_head(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(3)
    model = torch.nn.Module()
    model.lm_head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=dtype)
    return model


def numbers(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    return hidden, torch.randint(VOCABULARY, (TOKENS,), generator=generator)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_the_kernel_gives_what_the_plain_head_gives(install, rows: int, monkeypatch: pytest.MonkeyPatch):
    kernel, model, (hidden, targets) = install(), model_with_head(), numbers()
    plain = token_scores(model.lm_head, hidden, targets, entropy=True)
    use_liger(model, "auto")
    monkeypatch.setattr(head, "LOGITS_AT_A_TIME", rows * WIDTH)
    fused = token_scores(model.lm_head, hidden, targets, entropy=True)
    assert kernel.calls[1:] == {1: [1] * 7, 3: [3, 3, 1], 100: [7]}[rows]  # the first call is the comparison
    assert_close(fused.logprobs, plain.logprobs)
    assert_close(fused.entropy, plain.entropy)
    assert not fused.entropy.requires_grad
    weights, inputs = torch.linspace(-1, 1, TOKENS), (hidden, model.lm_head.weight)
    found = [torch.autograd.grad((scores.logprobs * weights).sum(), inputs) for scores in (fused, plain)]
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs)


def test_what_it_does_not_serve_goes_through_the_plain_head(install):
    kernel = install()
    for dtype, top_p, tokens, taken in (
        (torch.float32, None, 7, True),
        (torch.float32, 1.0, 7, True),
        (torch.bfloat16, None, 7, True),
        (torch.float32, 0.9, 7, False),
        (torch.float64, None, 7, False),
        (torch.float32, None, 0, False),
    ):
        model, (hidden, targets) = model_with_head(dtype), numbers(dtype)
        use_liger(model, "auto")
        token_scores(model.lm_head, hidden, targets)
        kernel.calls.clear()
        plain = model_with_head(dtype).lm_head
        case = hidden[:tokens], targets[:tokens]
        assert_close(
            token_scores(model.lm_head, *case, top_p=top_p).logprobs, token_scores(plain, *case, top_p=top_p).logprobs
        )
        assert bool(kernel.calls) == taken, (dtype, top_p, tokens)


def test_tensors_on_another_device_go_through_the_plain_head(install, monkeypatch: pytest.MonkeyPatch):
    kernel, model = install(), model_with_head()
    use_liger(model, True)
    monkeypatch.setattr(liger, "DEVICE", "cuda")
    token_scores(model.lm_head, *numbers())
    assert kernel.calls == []


def test_a_kernel_that_forgets_the_weights_is_not_trusted(install, caplog: pytest.LogCaptureFixture):
    kernel, model, (hidden, targets) = install(weighs=False), model_with_head(), numbers()
    expected = token_scores(model.lm_head, hidden, targets).logprobs
    use_liger(model, "auto")
    for _ in range(2):
        assert torch.equal(token_scores(model.lm_head, hidden, targets).logprobs, expected)
    assert kernel.calls == [8]  # compared once
    assert "Liger's kernel is off" in caplog.text
    assert "pip install 'tracer1[liger]'" in caplog.text


def test_the_head_still_gives_logits(install):
    install()
    model, (hidden, _) = model_with_head(), numbers()
    logits, names = model.lm_head(hidden), list(model.state_dict())
    use_liger(model, True)
    assert torch.equal(model.lm_head(hidden), logits)
    assert list(model.state_dict()) == names


def test_true_insists(absent, install, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(MissingDependency, match=r"pip install 'tracer1\[liger\]', or model\.liger=auto"):
        use_liger(model_with_head(), True)
    monkeypatch.setattr(liger, "find_spec", find_spec)
    install()
    monkeypatch.setattr(liger, "DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"model\.liger=true cannot work: .* need a GPU, and none is here"):
        use_liger(model_with_head(), True)


def test_auto_and_false_leave_the_head(absent, install, monkeypatch: pytest.MonkeyPatch):
    model = model_with_head()
    use_liger(model, "auto")  # not installed
    monkeypatch.setattr(liger, "find_spec", find_spec)
    install()
    use_liger(model, False)
    monkeypatch.setattr(liger, "DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    use_liger(model, "auto")
    assert type(model.lm_head) is torch.nn.Linear


@pytest.mark.parametrize(("setting", "kind"), [("auto", LigerHead), (False, torch.nn.Linear)])
def test_policy_and_reference_take_it(install, setting: bool | str, kind: type, tiny_folder: Path):
    install()
    policy = PolicyModule(
        str(tiny_folder),
        prompt={"horizon": 5, "style": "brief"},
        optimizer=torch.optim.SGD,
        options=ModelOptions(liger=setting),
    )
    reference = make_reference(policy, str(tiny_folder))
    assert type(policy.model.lm_head) is type(reference.model.lm_head) is kind


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="liger-kernel and triton are not installed: pip install liger-kernel triton")
def test_the_real_kernel_in_tritons_interpreter():
    """In a process of its own: Triton decides at its import whether it compiles or interprets."""
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            str(Path(__file__).with_name("liger_kernel_cases.py")),
        ],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
