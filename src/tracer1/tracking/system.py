"""Figures of the machine (processor, memory, disk, GPUs), taken every few seconds. It knows nothing about who logs them.

MLflow's own monitor writes from a thread of its own through MLflow's global state, so a server that is down would hold
it up and its figures would be lost; ours go through `metrics.jsonl` like every other metric.
"""

import importlib.util
import logging
import threading
from collections import defaultdict
from pathlib import Path

log = logging.getLogger(__name__)

PERIOD_S = 5.0
GB = 1024**3
_PEAKS = ("rss_gb", "gpu_memory_gb")  # what can run out is reported by its highest value, the rest by its mean


class SystemSampler:
    """Takes the machine's figures in the background; `collect` says what happened since the last call.

    Args:
        folder: A place on the disk whose free space is watched.
        period_s: Seconds between two looks.
    """

    def __init__(self, folder: Path, period_s: float = PERIOD_S) -> None:
        self._folder, self._period_s = folder, period_s
        self._lock = threading.Lock()
        self._seen: dict[str, list[float]] = defaultdict(list)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def collect(self) -> dict[str, float]:
        """`system/<figure>` since the last call: means, and peaks for memory; empty when no look was taken yet."""
        with self._lock:
            seen, self._seen = self._seen, defaultdict(list)
        return {f"system/{name}": max(all_) if name in _PEAKS else sum(all_) / len(all_) for name, all_ in seen.items()}

    def _run(self) -> None:
        sources = [lambda: _machine(self._folder), _gpus]
        while not self._stopped.wait(self._period_s):  # a first look at once would see a load of 0
            for source in tuple(sources):
                try:
                    figures = source()
                except Exception as error:  # a driver's or container's refusal must not end the training
                    log.warning("Some system metrics are left out: %s", error)
                    sources.remove(source)
                    continue
                with self._lock:
                    for name, value in figures.items():
                        self._seen[name].append(value)


def _machine(folder: Path) -> dict[str, float]:
    """The processor (mean since the last call), this process with its children, the machine's memory, the disk."""
    import psutil

    process = psutil.Process()
    resident = 0
    for each in (process, *process.children(recursive=True)):
        try:
            resident += each.memory_info().rss
        except psutil.Error:
            continue  # a child that has just ended
    return {
        "cpu_percent": psutil.cpu_percent(),
        "rss_gb": resident / GB,
        "ram_percent": psutil.virtual_memory().percent,
        "disk_free_gb": psutil.disk_usage(str(folder)).free / GB,
    }


def _gpus() -> dict[str, float]:
    """Mean load of the visible GPUs and the fullest one's memory; empty without a GPU or without NVIDIA's library."""
    import torch

    if not torch.cuda.is_available() or importlib.util.find_spec("pynvml") is None:
        return {}
    count = torch.cuda.device_count()
    return {
        "gpu_percent": sum(torch.cuda.utilization(i) for i in range(count)) / count,
        "gpu_memory_gb": max(torch.cuda.device_memory_used(i) for i in range(count)) / GB,
    }
