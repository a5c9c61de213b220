"""Responses over their prompt and over themselves: two attention calls without a mask between them, joined by their log-sum-exps.

Each response token attends to the whole prompt of its group and to its own response, causally. As one softmax over both that needs
a mask, and a mask makes every kernel compute the pairs that it hides; apart, no pair is computed in vain, and the keys of a prompt
stand there once for its whole group. The sums are joined as blocks of keys are joined in FlashAttention (arXiv:2205.14135) and
between devices in Ring Attention (arXiv:2310.01889): exact, gradients included. The kernels are PyTorch's own.

It knows nothing of models or of how tokens are packed.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def prompt_and_self_attention(
    query: Tensor, prompt: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor], hidden: Tensor | None, scale: float | None
) -> Tensor:
    """Attention of N = B x G responses of R tokens.

    Args:
        query: (N, heads, R, D), group by group.
        prompt: Keys and values (B, key heads, P, D) of the prompts.
        own: Keys and values (N, key heads, R, D) of the responses.
        hidden: (B, 1, 1, P), -inf at padding of prompts and 0 elsewhere; None where there is no padding.
        scale: Of the scores; None = 1/sqrt(D).

    Returns:
        (N, heads, R, D).
    """
    tensors = (query, *prompt, *own)
    if torch.is_autocast_enabled(query.device.type):  # as PyTorch's own attention does it
        tensors = tuple(x.to(torch.get_autocast_dtype(query.device.type)) for x in tensors)
    hidden = None if hidden is None else hidden.to(tensors[0].dtype)
    return _PromptAndSelf.apply(*tensors, hidden, scale)


class _PromptAndSelf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, *rest: Any) -> Tensor:
        key, value, own_key, own_value, hidden, scale = rest
        groups = len(key)
        seen, seen_sum = _forward(_side_by_side(query, groups), key, value, attn_mask=hidden, scale=scale)
        out, own_sum = _forward(query, own_key, own_value, 0.0, True, scale=scale)
        seen, seen_sum = _apart(seen, len(query)), _apart(seen_sum[..., None], len(query))
        total = torch.logaddexp(seen_sum, own_sum[..., None])
        share = (seen_sum - total).exp().to(out.dtype)
        out = torch.lerp(out, seen, share)  # the two shares add up to 1
        ctx.save_for_backward(query, key, value, own_key, own_value, hidden, out, total)
        ctx.scale = scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Each call's backward pass, given the joined output and sum, yields its part of the joined softmax's gradient."""
        query, key, value, own_key, own_value, hidden, out, total = ctx.saved_tensors
        grad = grad.contiguous()
        sides = (_side_by_side(x, len(key)) for x in (grad, query, out, total))
        side_grad, side_query, side_out, side_total = sides
        pair = (key, value, side_out, side_total[..., 0], 0.0, False)
        to_prompt, d_key, d_value = _backward(side_grad, side_query, *pair, attn_mask=hidden, scale=ctx.scale)
        pair = (own_key, own_value, out, total[..., 0], 0.0, True)
        to_self, d_own_key, d_own_value = _backward(grad, query, *pair, scale=ctx.scale)
        return to_self + _apart(to_prompt, len(query)), d_key, d_value, d_own_key, d_own_value, None, None


def _side_by_side(x: Tensor, groups: int) -> Tensor:
    """(B x G, heads, R, D) -> (B, heads, G x R, D): the queries of a group over the keys that they share."""
    rows, heads, length, width = x.shape
    return x.reshape(groups, rows // groups, heads, length, width).transpose(1, 2).reshape(groups, heads, -1, width)


def _apart(x: Tensor, rows: int) -> Tensor:
    """(B, heads, G x R, D) -> (B x G, heads, R, D)."""
    groups, heads, length, width = x.shape
    size = rows // groups
    return x.reshape(groups, heads, size, length // size, width).transpose(1, 2).reshape(rows, heads, -1, width)
