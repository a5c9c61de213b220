"""Tokens, operations and the share of the device's peak that a measured step stands for."""

from collections.abc import Mapping

import torch

from tracer1.training.bench.cases import Case

# Dense bfloat16 peaks in TFLOP/s, from the makers' data sheets
PEAKS = {"H200": 989, "H100": 989, "H800": 989, "A100": 312, "A800": 312, "L40S": 362, "B200": 2250, "4090": 165}


def peak_tflops(name: str) -> float | None:
    """The peak of the device with this name, or None where it is not known."""
    return next((float(peak) for part, peak in PEAKS.items() if part in name), None)


def speed(case: Case, seconds: float, counted: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Tokens/s, TFLOP/s and MFU of a side that took `seconds` for the operations `counted`, as text.

    Tokens are those of all responses with their prompts, however often the prompt was really read, so that both paths count
    the same. Operations are those of the side's own path: MFU says how busy the device was, not how much was spared.
    """
    tokens = case.prompts * case.group_size * (case.prompt_tokens + case.response_tokens)
    operations = sum(counted["half"].values())
    peak = peak_tflops(torch.cuda.get_device_name()) if case.device != "cpu" else None
    mfu = f"{100 * operations / seconds / 1e12 / peak:.0f} %" if peak else "–"
    return [f"{tokens / seconds:,.0f}", f"{operations / seconds / 1e12:,.3g}", mfu]
