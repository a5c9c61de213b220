"""Lets PyPI's torchvision, which is built for CUDA, be imported beside a CPU build of torch.

vLLM's Qwen3-VL imports torchvision, and torchvision's import asks for operators whose library does not load without CUDA. Their
definitions are enough: nothing here computes boxes. torch calls `define` when it is imported, in vLLM's subprocesses too. It does
nothing where torch has CUDA: torchvision then brings its operators itself.
"""

import torch

_LIBRARIES = []  # an operator lives as long as the library that defines it


def define() -> None:
    """Defines torchvision::nms and torchvision::qnms."""
    if torch.version.cuda is None:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)
