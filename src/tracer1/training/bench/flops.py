"""Counts the floating-point operations of the three passes without computing them: the weights are fake, the shapes are real.

What is counted: matrix products, convolutions and attention, forward and backward, two operations for a multiply-add; norms,
activations, softmax and copies are left out, as torch's own counter leaves them out. Attention is counted in two ways: `half`,
where a causal call counts the pairs on and below the diagonal (what kernels do that skip the rest), and `whole`, where every
call counts all pairs of its queries and keys (what torch's counter does). A call with a mask counts all pairs in both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import Qwen3VLForConditionalGeneration

from tracer1.models.attention import kinds
from tracer1.models.backbone import Backbone
from tracer1.training.bench.cases import Case, make_backbone, shape_config
from tracer1.training.bench.passes import PATHS, Batch, do_passes

aten = torch.ops.aten


Counts = dict[str, dict[str, int]]  # way of counting attention -> pass -> operations


class Attention:
    """What torch's attention calls on a CPU, counted whole; torch's own table knows only the GPU's kernels."""

    def __init__(self) -> None:
        self.spared = 0  # of all that was counted, what lies above the diagonal of causal calls
        kernel = aten._scaled_dot_product_flash_attention_for_cpu
        backward = aten._scaled_dot_product_flash_attention_for_cpu_backward
        self.table = {kernel: self._forward, backward: self._backward}

    def _forward(self, query: Any, key: Any, value: Any, dropout: float = 0.0, causal: bool = False, **_: Any) -> int:
        return self._noted(sdpa_flop_count(query, key, value), query, key, causal)

    def _backward(self, grad: Any, query: Any, key: Any, value: Any, *rest: Any, **_: Any) -> int:
        causal = rest[3]  # after out, logsumexp and dropout
        return self._noted(sdpa_backward_flop_count(grad, query, key, value), query, key, causal)

    def _noted(self, count: int, query: torch.Size, key: torch.Size, causal: bool) -> int:
        if causal and query[2] == key[2]:
            self.spared += round(count * (query[2] - 1) / (2 * query[2]))
        return count


class RealMasks(TorchDispatchMode):
    """Turns a real bool index of a fake tensor into places: how many of them there are is known here, not to a fake tensor."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index_put.default):
            indices: list[Tensor | None] = []
            for index in args[1]:
                mask = index is not None and index.dtype == torch.bool and not isinstance(index, FakeTensor)
                indices += index.nonzero().unbind(1) if mask else [index]
            args = (args[0], indices, *args[2:])
        return func(*args, **(kwargs or {}))


def fake_backbone(case: Case, mode: FakeTensorMode) -> Backbone:
    """The case's backbone with weights that have shapes and no numbers."""
    tiny = make_backbone(Case(case.image, 1, 1))
    with mode:
        model = Qwen3VLForConditionalGeneration(shape_config(case.shape, tiny.model.config))
    model.set_attn_implementation(kinds())
    tiny.model = model
    return tiny


def count(case: Case, name: str) -> Counts:
    """Operations of each pass of the case by the path `shared` or `dense`.

    Operations between real tensors (ids, masks, positions) are computed; whatever meets a weight becomes fake.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    backbone = fake_backbone(case, mode)
    batch = Batch.of(case, backbone)
    totals: Counts = {"half": {}, "whole": {}}

    @contextmanager
    def counted(step: str) -> Iterator[None]:
        attention = Attention()
        with FlopCounterMode(display=False, custom_mapping=attention.table) as counter, RealMasks():
            yield
        totals["whole"][step] = counter.get_total_flops()
        totals["half"][step] = totals["whole"][step] - attention.spared

    do_passes(PATHS[name], backbone.model, backbone.model, batch, counted)
    return totals


@cache
def count_both(case: Case) -> dict[str, Any]:
    """Both paths, and dense over shared.

    Returns:
        `shared` and `dense` (Counts); `ratio` with causal attention counted as half, `ratio_whole` with all pairs counted,
        and `ratio_all_logits`, as `ratio` against a dense path that makes logits for prompts, too, as most trainers do.
    """
    counts = {name: count(case, name) for name in PATHS}
    shared, dense = (sum(counts[name]["half"].values()) for name in ("shared", "dense"))
    whole_shared, whole_dense = (sum(counts[name]["whole"].values()) for name in ("shared", "dense"))
    text = shape_config(case.shape, make_backbone(Case(case.image, 1, 1)).model.config).text_config
    prompt_rows = case.prompts * case.group_size * (case.prompt_tokens - 1)
    logits = 2 * prompt_rows * text.hidden_size * text.vocab_size * 5  # old 1, reference 1, update 3
    return {
        "ratio": dense / shared,
        "ratio_whole": whole_dense / whole_shared,
        "ratio_all_logits": (dense + logits) / shared,
        **counts,
    }
