"""Runs the comparisons in turns, takes medians, follows the memory, and writes tables and a plot.

It knows nothing about how a feed works.
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tracer1.data.bench.feeds import as_parquet, data_module, hugging_face, plain, screenshots
from tracer1.data.bench.made_shards import make_shards
from tracer1.data.datamodule import StepDataModule
from tracer1.errors import MissingDependency

Say = Callable[[str], object]
PLAIN, OURS = "plain decoding", "tracer1 data module"
PER_SHARD = 24  # steps of some 200 kB


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    steps: int = 240  # of 1280x720, for the speeds; a multiple of 48
    epochs: int = 2  # how often a run goes over them
    pictures: int = 96  # different ones among them
    repetitions: int = 9
    memory_steps: int = 100_000
    memory_per_shard: int = 996
    workers: tuple[int, ...] = (0, 1, 2, 4)  # whose scaling is measured


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def speed(sizes: Sizes, say: Say) -> dict[str, Any]:
    """Steps per second of each feed with one process per core, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        feeds, images, urls = _feeds(Path(folder), sizes, say)
        try:
            parquet = as_parquet(urls * sizes.epochs, Path(folder) / "parquet", max(8, cores()))
            for name, decoded in (("datasets, pictures handed over", True), ("datasets, bytes handed over", False)):
                feeds[name] = partial(hugging_face, parquet, sizes.epochs * sizes.steps, decoded=decoded)
        except ImportError:
            say("Hugging Face datasets is not installed (pip install -e '.[bench]'): left out")
        found = _in_turns(feeds, [cores()], sizes.repetitions, say)
    kilobytes = median(len(image) / 1000 for image in images)
    about = {
        "cores": cores(),
        "cpu": _cpu(),
        "steps": sizes.steps,
        "epochs": sizes.epochs,
        "image_kb": kilobytes,
        "size": "1280x720",
    }
    return {"about": about, "speed": found}


def scaling(sizes: Sizes, say: Say) -> dict[str, Any]:
    """Steps per second of plain decoding and of the data module for each number of processes, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        feeds, _, _ = _feeds(Path(folder), sizes, say)
        return {"scaling": _in_turns(feeds, sizes.workers, sizes.repetitions, say)}


def _feeds(folder: Path, sizes: Sizes, say: Say) -> tuple[dict[str, Callable[[int], float]], list[bytes], list[str]]:
    """Plain decoding and the data module over generated shards, their screenshots and their paths."""
    say(f"drawing {sizes.steps} steps")
    urls = make_shards(folder / "shards", sizes.steps, PER_SHARD, pictures=sizes.pictures)
    images = screenshots(urls)

    def decoding(processes: int) -> float:
        return plain(images, sizes.epochs, max(1, processes))

    return {PLAIN: decoding, OURS: partial(data_module, urls, PER_SHARD, sizes.epochs)}, images, urls


def _in_turns(
    feeds: dict[str, Callable[[int], float]], workers: Sequence[int], repetitions: int, say: Say
) -> list[dict[str, Any]]:
    """Every feed once, and again, and again: what slows the machine down for a while slows all of them."""
    runs: dict[tuple[str, int], list[float]] = {(name, n): [] for n in workers for name in feeds}
    for turn in range(repetitions):
        for name, n in runs:
            runs[name, n].append(feeds[name](n))
            say(f"{turn + 1}/{repetitions} {name}, {n} processes: {runs[name, n][-1]:.1f} steps/s")
    found = []
    for (name, n), values in runs.items():
        of_plain = median(value / base for value, base in zip(values, runs[PLAIN, n], strict=True))
        row = {"feed": name, "processes": n, "median": median(values), "of_plain": of_plain}
        found.append({**row, "runs": [round(value, 2) for value in values]})
    return found


def memory(sizes: Sizes, say: Say) -> dict[str, Any]:
    """The memory of the training process and its loading processes while that many different steps go by."""
    count = sizes.memory_steps // sizes.memory_per_shard * sizes.memory_per_shard + sizes.memory_per_shard
    with tempfile.TemporaryDirectory() as folder:
        say(f"making {count} steps")
        urls = make_shards(Path(folder), count, sizes.memory_per_shard, (240, 135), pictures=200)
        stream = StepDataModule({"made": {"train": urls}}, num_workers=2).train_stream()
        curve, began, me = [], time.perf_counter(), psutil.Process()
        every = max(12, count // 100)
        for n in range(1, count + 1):
            next(stream)
            if n % every == 0:
                curve.append((n, *_megabytes(me)))
                say(f"{n} steps, {curve[-1][1]:.0f} + {curve[-1][2]:.0f} MB")
        stream.close()
    return {"memory": {"steps": count, "seconds": time.perf_counter() - began, "curve": curve}}


def _megabytes(process: psutil.Process) -> tuple[float, float]:
    """Resident memory of a process and of its children in 10^6 bytes; pages that they share count in part (PSS)."""
    children = [child.memory_full_info().pss for child in process.children(recursive=True)]
    return process.memory_full_info().pss / 1e6, sum(children) / 1e6


def _cpu() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def tables(figures: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    lines = []
    if "speed" in figures:
        lines += ["| feed | processes | steps/s, median | of plain decoding in the same turn, median | runs |"]
        lines += ["|---|---|---|---|---|"]
        for row in figures["speed"]:
            runs = " ".join(f"{value:.0f}" for value in row["runs"])
            speed = f"{row['median']:.1f} | {row['of_plain']:.1%}"
            lines.append(f"| {row['feed']} | {row['processes']} | {speed} | {runs} |")
    if "scaling" in figures:
        lines += ["", f"| processes | {PLAIN}, steps/s | {OURS}, steps/s |", "|---|---|---|"]
        speeds = {(row["feed"], row["processes"]): row["median"] for row in figures["scaling"]}
        for n in sorted({n for _, n in speeds}):
            lines.append(f"| {n} | {speeds[PLAIN, n]:.1f} | {speeds[OURS, n]:.1f} |")
    if "memory" in figures:
        curve = figures["memory"]["curve"]
        parts = {"10 %": curve[len(curve) // 10], "half": curve[len(curve) // 2], "all": curve[-1]}
        lines += ["", f"| of {figures['memory']['steps']:,} steps | training process, MB | loading processes, MB |"]
        lines += [
            "|---|---|---|",
            *(f"| {name} | {mine:.0f} | {rest:.0f} |" for name, (_, mine, rest) in parts.items()),
        ]
    return "\n".join(lines)


def write(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Adds the figures to those of earlier commands in `bench_data.json`, and plots them all; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench_data.json"
    every = (json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}) | figures
    path.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")
    return [path, _plot(every, folder / "data_performance.png")]


def _plot(figures: dict[str, Any], path: Path) -> Path:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency("The plot needs matplotlib: pip install -e '.[bench]'.") from error
    figure = Figure((11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in dict.fromkeys(row["feed"] for row in figures.get("scaling", ())):
        rows = [row for row in figures["scaling"] if row["feed"] == name]
        left.plot([row["processes"] for row in rows], [row["median"] for row in rows], marker="o", label=name)
    if "scaling" in figures:
        left.set(xlabel="processes (0: in the training process)", ylabel="steps per second", ylim=(0, None))
        left.set_title(f"1280x720 screenshots, {cores()} cores")
        left.legend()
    if "memory" in figures:
        curve = figures["memory"]["curve"]
        right.plot([n for n, _, _ in curve], [mine for _, mine, _ in curve], label="training process")
        right.plot([n for n, _, _ in curve], [rest for _, _, rest in curve], label="loading processes")
        right.set(xlabel="steps", ylabel="memory, MB", ylim=(0, None), title="Memory over different steps")
        right.legend()
    figure.savefig(path, dpi=110)
    return path
