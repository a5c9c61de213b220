"""The benchmark in its smallest form: every command runs, the figures are written, and nothing but the sizes is different."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_quick_goes_through_everything(tmp_path: Path):
    command = [sys.executable, str(ROOT / "tools" / "bench_grpo.py"), "all", "--quick", "--threads", "1"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "bench_all.json").read_text())
    assert figures["machine"]["versions"]["torch"]
    (whole,) = figures["trl"]
    assert whole["sides"]["tracer1"]["median_s"] > 0
    assert whole["sides"]["tracer1"]["peak_mib"] > 50
    dense = figures["dense"]
    assert set(dense["sides"]) == {"shared", "dense"}
    assert dense["counted"]["tiny"]["ratio"] > 2
    assert {row["blocks"] for row in figures["logits"]["rows"]} == {True, False}
    assert (tmp_path / "performance_curves.png").stat().st_size > 1000
    assert "old + reference + update" in done.stdout
    assert "64×64" in done.stdout


def test_a_mistake_is_one_line(tmp_path: Path):
    command = [sys.executable, str(ROOT / "tools" / "bench_grpo.py"), "trl", "--quick", "--threads", "1"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path), "--device", "cuda"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
