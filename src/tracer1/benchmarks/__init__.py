"""Benchmarks: which steps are asked, under which rules the answers are scored, and what has been published. Found by name.

A benchmark is a class with `batches`, `add` and `result` (see `interfaces.Benchmark`), registered under its file's name; its arguments
are the settings in `conf/benchmark/`. It knows nothing of how answers are sampled.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer1.interfaces import Benchmark
from tracer1.registry import Registry
from tracer1.schema import Rollout, Step

BENCHMARKS = Registry("benchmark", "tracer1.benchmarks")


def run_benchmark(
    benchmark: Benchmark,
    answers: Iterable[tuple[Sequence[Step], Sequence[Rollout]]],
    folder: Path,
    about: Mapping[str, Any],
) -> Any:
    """Scores all answers and writes `<name>.steps.jsonl`, one line for each step, and `<name>.json`, the figures.

    Args:
        benchmark: Told of every batch.
        answers: Batches of steps with their rollouts.
        folder: Where the files go; made where it does not exist.
        about: Goes into the figures' file: whose answers these are.

    Returns:
        What `benchmark.result()` gives.

    Raises:
        KeyboardInterrupt: Ctrl-C, with a line that says what is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finished = folder / f"{benchmark.name}.steps.jsonl"
    part = finished.with_name(f"{finished.name}.part")
    done = 0
    try:
        with part.open("w", encoding="utf-8") as lines:
            for steps, rollouts in answers:
                for row in benchmark.add(steps, rollouts):
                    lines.write(f"{json.dumps(row, ensure_ascii=False)}\n")
                lines.flush()
                done += len(steps)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped after {done:,} steps of {benchmark.name}: there are no figures. What was scored is in {part}; the same "
            "command starts from the beginning."
        ) from None
    part.replace(finished)
    result = benchmark.result()
    report = {**about, **result.as_json(), "steps_file": str(finished)}
    (folder / f"{benchmark.name}.json").write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    return result
