#!/usr/bin/env python
"""Times sampling with several engines in turns: the same policy, prompts and seeds. Ends with a table.

.venv-vllm/bin/python tools/bench_engines.py transformers vllm     # the environment of `make test-vllm`
.venv-vllm/bin/python tools/bench_engines.py transformers vllm --prompts 24 --group 5 --repetitions 5 --threads 2
"""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
SETTINGS = {
    "vllm": {"max_model_len": 1024, "options": {"max_num_seqs": 256}},
    "transformers": {"prompts_per_batch": 64},
}


def main() -> None:
    """Reads the arguments; the work is in `tracer1.training.bench.engines`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="+", choices=sorted(SETTINGS))
    parser.add_argument(
        "--model", default=str(ROOT / "demo" / "tiny_planner"), help="default: the shipped tiny planner"
    )
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--group", type=int, default=5, help="responses to each prompt (default: 5)")
    parser.add_argument("--max-tokens", type=int, default=320, help="of a response (default: 320)")
    parser.add_argument("--repetitions", type=int, default=5, help="rounds of each engine that count (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="on a CPU (default: 2)")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

    from tracer1.errors import Tracer1Error
    from tracer1.training.bench.engines import compare_engines, demo_shards, engine_table

    specs = [{"name": name, **SETTINGS[name]} for name in arguments.engines]
    size = (arguments.prompts, arguments.group)
    try:
        figures = compare_engines(
            specs, arguments.model, demo_shards(ROOT), size, arguments.repetitions, arguments.max_tokens
        )
    except Tracer1Error as error:
        sys.exit(f"error: {error}")
    print(engine_table(figures))


if __name__ == "__main__":
    main()
