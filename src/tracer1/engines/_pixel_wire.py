"""A picture's pixels as vLLM's `/inference/v1/generate` takes them: one msgpack map, base64. It knows no server and no prompt.

Written out by hand because the trainer's environment need not have vLLM: two tensors, each with how vLLM 0.32 batches it.
"""

import base64
import struct
from typing import Any

import torch
from torch import Tensor

_RAW_VIEW = 3  # vLLM's extension code for a tensor's bytes


def encode_picture(pixels: Tensor, grid: Tensor) -> str:
    """The `kwargs_data` entry of one picture.

    Args:
        pixels: (patches, D).
        grid: (3,) patches along time, height, width.
    """
    flat = {"keep_on_cpu": False, "slices": [[0, len(pixels), None]], "dim": 0}
    fields = {
        "pixel_values": {"data": _tensor(pixels), "field": ["flat", flat]},
        "image_grid_thw": {"data": _tensor(grid), "field": ["batched", {"keep_on_cpu": True}]},
    }
    return base64.b64encode(_packed(fields)).decode("ascii")


def _tensor(tensor: Tensor) -> list[Any]:
    data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), data]


def _packed(value: Any) -> bytes:
    """msgpack of None, bool, int >= 0, str, list, dict, and of bytes as a raw view."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return b"\xcf" + struct.pack(">Q", value)
        case str():
            text = value.encode()
            return b"\xdb" + struct.pack(">I", len(text)) + text
        case bytes():
            return b"\xc9" + struct.pack(">Ib", len(value), _RAW_VIEW) + value
        case list():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(_packed, value))
        case dict():
            pairs = (_packed(key) + _packed(entry) for key, entry in value.items())
            return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pairs)
    raise TypeError(f"{type(value).__name__} has no place in a picture's message.")
