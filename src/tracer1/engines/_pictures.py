"""Where a prompt's pictures stand among its tokens, and a name for their pixels. It knows no engine.

A prompt holds the pixels that the trainer reads, already resized and cut into patches; vLLM is handed the same tensors, so nothing
is decoded or resized a second time, and what was sampled from is what is trained on.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from tracer1.errors import EngineError
from tracer1.schema import Prompt


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a prompt."""

    pixels: Tensor  # (patches, D)
    grid: Tensor  # (3,) patches along time, height, width
    offset: int  # its first image token
    length: int  # its image tokens, one for every merge x merge patches
    digest: str  # the same for the same pixels: caches go by it


def pictures(prompt: Prompt, image_token: int, merge_size: int) -> list[Picture]:
    """The pictures of a prompt, in order; their tensors are views of the prompt's.

    Args:
        prompt: Its image tokens already expanded.
        image_token: The id that stands for a piece of a picture.
        merge_size: Patches along one side of such a piece.

    Raises:
        EngineError: image tokens and pictures do not fit.
    """
    if "pixel_values" not in prompt.tensors:
        return []
    grids = prompt.tensors["image_grid_thw"]
    patches = grids.prod(-1).tolist()
    found, at = [], 0
    for pixels, grid in zip(prompt.tensors["pixel_values"].split(patches), grids, strict=True):
        length = len(pixels) // merge_size**2
        at = next((i for i in range(at, len(prompt.token_ids)) if prompt.token_ids[i] == image_token), -1)
        if at < 0 or prompt.token_ids[at : at + length] != (image_token,) * length:
            raise EngineError(
                f"Prompt {prompt.key!r}: a picture of {length} image tokens does not fit the prompt's. Encode the step again "
                "with the encoder of this very model."
            )
        found.append(Picture(pixels, grid, at, length, _digest(pixels, grid)))
        at += length
    return found


def _digest(pixels: Tensor, grid: Tensor) -> str:
    seen = hashlib.blake2b(repr(grid.tolist()).encode(), digest_size=16)
    seen.update(pixels.detach().cpu().contiguous().view(torch.uint8).numpy())
    return seen.hexdigest()
