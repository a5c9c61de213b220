"""One round under torch.profiler, as a table in the run's folder: `+trainer/profiler=torch`. It knows nothing of what a round does."""

from pathlib import Path

import torch
from lightning.pytorch.profilers import Profiler
from torch.profiler import ProfilerActivity, profile

_ROUND = "run_training_epoch"  # what Lightning calls it


class RoundProfiler(Profiler):
    """Writes what one round spent its time on, sampling and updates alike, the most expensive operation first.

    Args:
        folder: Where `profile_round<N>.txt` goes.
        round: Which round, from 1; the first one also pays for what is done once.
        rows: Of the table.
        trace: Whether to write `profile_round<N>.json`, too, for a trace viewer (large).
    """

    def __init__(self, folder: str, round: int = 2, rows: int = 40, trace: bool = False) -> None:
        super().__init__(dirpath=folder)
        self.folder, self.round, self.rows, self.trace = Path(folder), round, rows, trace
        self._seen, self._profile = 0, None

    def start(self, action_name: str) -> None:
        """Lightning begins an action."""
        if action_name != _ROUND:
            return
        self._seen += 1
        if self._seen == self.round:
            self._profile = profile(activities=self._activities())
            self._profile.start()

    def stop(self, action_name: str) -> None:
        """Lightning ends an action."""
        if action_name != _ROUND or self._profile is None:
            return
        self._profile.stop()
        found, self._profile = self._profile, None
        on_gpu = ProfilerActivity.CUDA in self._activities()
        order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=order, row_limit=self.rows, max_name_column_width=60)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"profile_round{self.round}.txt").write_text(table + "\n")
        if self.trace:
            found.export_chrome_trace(str(self.folder / f"profile_round{self.round}.json"))

    @staticmethod
    def _activities() -> list[ProfilerActivity]:
        gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
        return [ProfilerActivity.CPU, *gpu]
