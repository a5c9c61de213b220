"""Weights that are spread over ranks (ZeRO-3, FSDP2): computed with, brought together, and spread in the first place.

A parameter is whole, or it is this rank's part of one: of ZeRO-3 it has a number of DeepSpeed's, of FSDP2 it is a DTensor. Whatever
brings parts together is a collective: every rank must do it, in the same order. It knows no loss and no trainer.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import Qwen3VLForConditionalGeneration

BUCKET_BYTES = 256 * 2**20  # of weights that are brought together at a time


def inside(module: nn.Module, run: Callable[..., Any], *inputs: Any) -> Any:
    """`run(*inputs)` in the place of the module's forward, so that its hooks bring its own weights together once around all of it.

    Whoever reads a parameter without calling its module, or calls a module a different number of times on every rank, goes this way.
    What `run` takes and gives must be tensors or tuples of them, where gradients are to flow.
    """
    own = vars(module).get("forward")

    def restore() -> None:
        if own is None:
            vars(module).pop("forward", None)
        else:
            module.forward = own

    def forward(*args: Any) -> Any:
        restore()
        return run(*args)

    module.forward = forward
    try:
        return module(*inputs)
    finally:
        restore()


def is_spread(model: nn.Module) -> bool:
    """Whether a rank holds only a part of the weights."""
    return any(isinstance(p, DTensor) or _in_zero3(p) for p in model.parameters())


def whole(named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Each parameter whole, under its name, in order; every rank must go through all of them.

    Parts are brought together about `BUCKET_BYTES` at a time, as tensors of their own; a whole parameter is passed on as it is.
    """
    bucket: list[tuple[str, Tensor]] = []
    held = 0
    for name, parameter in named:
        bucket.append((name, parameter))
        held += _bytes(parameter)
        if held >= BUCKET_BYTES:
            yield from _together(bucket)
            bucket, held = [], 0
    yield from _together(bucket)


def _together(bucket: list[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    parts = [parameter for _, parameter in bucket if _in_zero3(parameter)]
    if not parts:
        return [(name, p.full_tensor() if isinstance(p, DTensor) else p) for name, p in bucket]
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters(parts):  # clones: what is brought together is gone afterwards
        return [(name, p.detach().clone() if _in_zero3(p) else p) for name, p in bucket]


def _in_zero3(parameter: Tensor) -> bool:
    return "ds_id" in vars(parameter)


def _bytes(parameter: Tensor) -> int:
    count = parameter.ds_numel if _in_zero3(parameter) else parameter.numel()
    return count * parameter.element_size()


def spread(model: Qwen3VLForConditionalGeneration, mesh: DeviceMesh) -> None:
    """Spreads a planner over the ranks of a mesh by FSDP2: every layer of text and vision for itself, all else together.

    A tied head and its embedding stay one tensor because they are in one part. The model's own forward need never run: whoever
    computes with it goes through `inside(model, ...)`. Weights are brought together as they are, so that the reference, which is whole,
    rounds as the policy does; gradients are added up in float32.

    Args:
        model: With whole weights, the same on all ranks.
        mesh: One-dimensional.
    """
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    settings = {"mesh": mesh, "mp_policy": policy, "reshard_after_forward": True}
    for part in (*model.model.visual.blocks, *model.model.language_model.layers, model):
        fully_shard(part, **settings)
        if mesh.device_type == "cpu":
            part.set_force_sum_reduction_for_comms(True)  # gloo cannot take a mean
