"""Log-probs by Liger's fused kernel, on a GPU where liger-kernel is installed. It knows nothing of models or losses.

Of Liger's kernels `liger_fused_linear_cross_entropy` without a reduction serves: it gives a log-prob per token, in float32, from
logits that exist a chunk at a time and turn into their gradient in place, and its backward weighs each token by itself. Releases
before 0.8.4 gave all tokens the weight 1 there, without a word: hence the comparison on first use.
"""

import logging
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from tracer1.errors import ConfigError, MissingDependency

log = logging.getLogger(__name__)

DEVICE = "cuda"  # tests put `cpu` here, for Triton's interpreter


class LigerHead(torch.nn.Linear):
    """A language model's head whose log-probs the kernel may compute. Name and weight stay."""


def use_liger(model: torch.nn.Module, liger: bool | str) -> None:
    """Swaps the class of `model.lm_head` where the kernel can run.

    Args:
        model: With a head like Qwen3-VL's.
        liger: `auto` takes it where it is installed and there is a GPU; True insists on both; False leaves it.

    Raises:
        ConfigError: True without a GPU.
        MissingDependency: True without liger-kernel.
    """
    if not liger:
        return
    installed, gpu = find_spec("liger_kernel") is not None, torch.get_device_module(DEVICE).is_available()
    if liger is True and not installed:
        raise MissingDependency(
            "model.liger=true needs liger-kernel: pip install 'tracer1[liger]', or model.liger=auto."
        )
    if liger is True and not gpu:
        raise ConfigError(
            "model.liger=true cannot work: Liger's kernels need a GPU, and none is here; model.liger=auto."
        )
    if installed and gpu:
        model.lm_head.__class__ = LigerHead


def serves(lm_head: torch.nn.Module, hidden: Tensor) -> bool:
    """Whether log-probs of these hidden states go through the kernel."""
    return (
        isinstance(lm_head, LigerHead)
        and len(hidden) > 0
        and hidden.device.type == DEVICE
        and hidden.dtype != torch.float64  # the kernel computes in float32
        and _equals_plain(hidden.device)
    )


def logprobs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Log-probs (T,) of token ids (T,) from hidden states (T, H) and a head's weight (V, H)."""
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return -liger_fused_linear_cross_entropy(hidden, weight, targets, reduction="none")


@cache
def _equals_plain(device: torch.device) -> bool:
    """Compares log-probs and gradients of a few numbers with PyTorch's, each token weighted by itself."""
    numbers = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(rows, 16, generator=numbers).to(device).requires_grad_() for rows in (8, 32))
    targets, weights = torch.arange(8, device=device), torch.linspace(-1, 1, 8, device=device)
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        plain = (hidden @ weight.T).log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        fused = logprobs(hidden, weight, targets)
        found = [(y.detach(), *torch.autograd.grad((y * weights).sum(), (hidden, weight))) for y in (fused, plain)]
    difference = max(float((a - b).abs().max()) for a, b in zip(*found, strict=True))
    if difference <= 0.05:  # products may be rounded to TF32; not a number is not trusted either
        return True
    log.warning(
        "Liger's kernel is off: its log-probs or gradients differ from PyTorch's by %.2g. Releases before 0.8.4 do: "
        "pip install 'tracer1[liger]'; model.liger=false silences this.",
        difference,
    )
    return False
