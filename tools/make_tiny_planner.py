#!/usr/bin/env python
"""Makes a tiny planner with random weights: Qwen3-VL's classes, a small configuration, a tokenizer trained on plans.

python tools/make_tiny_planner.py --out outputs/tiny_random
python src/tracer1/train.py +experiment=warmstart            # teaches it; +experiment=warmstart_tool the one for tools
python tools/make_tiny_planner.py --from outputs/warmstart/policy --out demo/tiny_planner   # halves it for shipping
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> None:
    """Reads the arguments; the work is in `tracer1.training.tiny_planner`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the new planner")
    parser.add_argument("--from", dest="taught", type=Path, help="a taught planner to write in bfloat16 instead")
    parser.add_argument(
        "--shards", default="demo/shards/miniwob-train-*.tar.gz", help="what the tokenizer is trained on"
    )
    parser.add_argument("--horizon", type=int, default=4, help="steps of a plan (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    arguments = parser.parse_args()

    from tracer1.errors import Tracer1Error
    from tracer1.training.tiny_planner import halve, make_from_shards

    try:
        if arguments.taught:
            size = halve(arguments.taught, arguments.out)
        else:
            size = make_from_shards(arguments.shards, arguments.out, arguments.horizon, arguments.seed)
    except Tracer1Error as error:
        sys.exit(f"error: {error}")
    print(f"{arguments.out}: {size / 1e6:.2f} MB of weights")


if __name__ == "__main__":
    main()
