"""From hidden states to log-probs of the sampled tokens, a block of rows at a time: the full logits never exist."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from tracer1.models import liger
from tracer1.models.sharding import inside

LOGITS_AT_A_TIME = 2**24  # numbers: 64 MB in float32, of which about five copies live at the peak


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What the head says of T response tokens."""

    logprobs: Tensor  # (T,) natural logs
    entropy: Tensor | None  # (T,) of the whole distribution, in nats; it carries no gradient


def token_scores(
    lm_head: torch.nn.Module, hidden: Tensor, targets: Tensor, entropy: bool = False, top_p: float | None = None
) -> TokenScores:
    """Log-probs of the tokens (T,) that the hidden states (T, H) predict, by a log-sum-exp in float32 (float64 stays).

    Liger's kernel takes over where it serves (`liger.py`): on a GPU, over the whole distribution.

    Args:
        lm_head: (T, H) -> (T, V).
        hidden: (T, H).
        targets: (T,) token ids.
        entropy: Whether to give it.
        top_p: Renormalises over the nucleus that sampling at top-p drew from; None = the whole distribution.
    """
    run = partial(_scores, lm_head, entropy=entropy, top_p=top_p)  # inside: ranks have different numbers of blocks
    return TokenScores(*inside(lm_head, run, hidden, targets))


def _scores(
    lm_head: torch.nn.Module, hidden: Tensor, targets: Tensor, entropy: bool, top_p: float | None
) -> tuple[Tensor, Tensor | None]:
    if (top_p is not None and top_p < 1) or not liger.serves(lm_head, hidden):
        return _in_blocks(lm_head, hidden, targets, entropy, top_p)
    spread = None
    if entropy:
        with torch.no_grad():  # the kernel does not give it: one more product with the head
            spread = _in_blocks(lm_head, hidden, targets, entropy=True)[1]
    rows = max(1, LOGITS_AT_A_TIME // hidden.shape[1])  # the kernel makes about rows x H logits at a time
    parts = zip(hidden.split(rows), targets.split(rows), strict=True)
    return torch.cat([liger.logprobs(part[0], lm_head.weight, part[1]) for part in parts]), spread


def _in_blocks(
    lm_head: torch.nn.Module, hidden: Tensor, targets: Tensor, entropy: bool, top_p: float | None = None
) -> tuple[Tensor, Tensor | None]:
    """With several blocks, the backward pass computes each block's logits again instead of keeping them."""
    rows = max(1, LOGITS_AT_A_TIME // lm_head.out_features)
    blocks = list(zip(hidden.split(rows), targets.split(rows), strict=True))
    if len(blocks) == 1 or not torch.is_grad_enabled():
        scored = [_block(lm_head, *block, entropy, top_p) for block in blocks]
    else:
        scored = [checkpoint(_block, lm_head, *block, entropy, top_p, use_reentrant=False) for block in blocks]
    logprobs, entropies = zip(*scored, strict=True)
    return torch.cat(logprobs), torch.cat(entropies) if entropy else None


def _block(
    lm_head: torch.nn.Module, hidden: Tensor, targets: Tensor, entropy: bool, top_p: float | None
) -> tuple[Tensor, Tensor | None]:
    logits = linear(hidden, lm_head.weight, lm_head.bias)  # not by calling it: its weight is here, see `token_scores`
    logits = logits if logits.dtype == torch.float64 else logits.float()
    normaliser = logits.logsumexp(-1)
    chosen = logits.gather(-1, targets[:, None])[:, 0]
    spread = None
    if entropy:  # after all that the backward pass needs, so that `checkpoint` does not compute it again
        with torch.no_grad():
            spread = normaliser - ((logits - normaliser[:, None]).exp_().mul_(logits)).sum(-1)
    if top_p is not None and top_p < 1:
        normaliser = logits.masked_fill(~nucleus(logits.detach(), targets, top_p), -torch.inf).logsumexp(-1)
    return chosen - normaliser, spread


def nucleus(logits: Tensor, targets: Tensor, top_p: float) -> Tensor:
    """(T, V) bool: the most likely tokens up to the one that crosses `top_p`, as the engines sample; the target always."""
    probs, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
    kept = (probs.cumsum(-1) - probs) < top_p
    mask = torch.zeros_like(kept).scatter_(-1, order, kept)
    return mask.scatter_(-1, targets[:, None], True)
