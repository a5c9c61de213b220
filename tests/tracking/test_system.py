"""The machine's figures."""

import time
from pathlib import Path

from tracer1.tracking.metric_names import check_names
from tracer1.tracking.system import SystemSampler


def test_figures_are_taken_in_the_background_and_handed_out_once(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path, period_s=0.05)
    assert sampler.collect() == {}
    sampler.start()
    deadline = time.monotonic() + 20
    while not (figures := sampler.collect()) and time.monotonic() < deadline:
        time.sleep(0.05)
    sampler.stop()
    check_names(figures)
    assert figures["system/rss_gb"] > 0.01
    assert 0 < figures["system/ram_percent"] <= 100
    assert "system/cpu_percent" in figures
