#!/usr/bin/env python
"""Measures a GRPO step: whole steps beside TRL's, the shared prefix beside the dense path, the memory of log-probs.

    python tools/bench_grpo.py all --out outputs/bench            # everything; TRL needs pip install -e '.[bench]'
    python tools/bench_grpo.py trl --repetitions 5                # whole steps, tracer1 and TRL in turns
    python tools/bench_grpo.py trl --engine vllm                  # both sample with colocated vLLM; needs vLLM and TRL
    python tools/bench_grpo.py dense --device cuda --shape 8b     # on a GPU with Qwen3-VL-8B's shape
    python tools/bench_grpo.py all --quick                        # the smallest that goes through everything, without TRL
Tables go to stdout, figures to OUT/bench_COMMAND.json, curves to OUT/performance_curves.png.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> None:
    """Reads the arguments; the work is in `tracer1.training.bench`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("all", "trl", "dense", "logits", "curves"))
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"), help="folder (default: outputs/bench)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--shape", choices=("tiny", "2b", "8b"), default="tiny", help="of the model; weights are random"
    )
    parser.add_argument(
        "--engine", choices=("transformers", "vllm"), default="transformers", help="of both sides of trl"
    )
    parser.add_argument("--repetitions", type=int, default=5, help="steps of each side that count (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="of each side on a CPU (default: 2)")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing on all sides")
    parser.add_argument("--apart", action="store_true", help="one side after the other: one model in memory at a time")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repetition: does it run?")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides for tracer1's training")
    arguments = parser.parse_args()

    from tracer1.errors import Tracer1Error
    from tracer1.training.bench.plots import plot_curves
    from tracer1.training.bench.report import tables, write
    from tracer1.training.bench.runs import Options, run

    names = ("device", "shape", "repetitions", "threads", "checkpointing", "engine", "quick")
    options = {name: getattr(arguments, name) for name in names}
    more = {"overrides": tuple(arguments.set), "together": not arguments.apart}
    try:
        figures = run(arguments.command, Options(**options, **more, say=lambda line: print(line, file=sys.stderr)))
    except Tracer1Error as error:
        sys.exit(f"error: {error}")
    print(tables(figures))
    print(f"\n{write(figures, arguments.out, f'bench_{arguments.command}', arguments.device)}")
    if "curves" in figures:
        print(plot_curves(figures["curves"], arguments.out / "performance_curves.png"))


if __name__ == "__main__":
    main()
