"""Starts the desktop environment many times in a row and says how many were whole, and how long each part took."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from tracer1.environments import ENVIRONMENTS
from tracer1.errors import EnvironmentFault, Tracer1Error
from tracer1.schema import Action


def run(task: str, starts: int) -> int:
    """Prints one line of figures; returns how many starts were lost."""
    environment = ENVIRONMENTS.get("desktop")()
    resets, steps, lost = [], [], 0
    try:
        for start in range(starts):
            begun = time.perf_counter()
            try:
                environment.reset(task, start)
                ready = time.perf_counter()
                environment.step(Action("hotkey", key="end"))
                steps.append(time.perf_counter() - ready)
                resets.append(ready - begun)
            except EnvironmentFault as fault:
                lost += 1
                print(f"start {start + 1}: {fault}")
    finally:
        environment.close()
    if resets:
        print(
            f"{task}: {starts - lost} of {starts} starts whole; reset {median(resets):.2f} s, at most {max(resets):.2f} s; ",
            end="",
        )
        print(f"step {median(steps):.2f} s, {environment.pause_s:g} s of it the pause (medians)")
    return lost


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="mousepad-write-note", help="id of the task (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=50, help="how many in a row (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        return 1 if run(options.task, options.starts) else 0
    except Tracer1Error as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
