#!/usr/bin/env python
"""Times GRPO rounds of the same size per rank on one rank and on several, in turns. Ends with a table of tokens/s and efficiency.

python tools/bench_scaling.py                               # 1 and 2 ranks, one thread each, strategy=ddp
python tools/bench_scaling.py --strategy zero2 --repetitions 5 --prompts 4 --tokens 64
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))


def main() -> None:
    """Reads the arguments; the work is in `tracer1.training.bench.scaling`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="numbers of ranks (default: 1 2)")
    parser.add_argument("--strategy", default="ddp", help="ddp, zero1, zero2, zero3 or fsdp2 (default: ddp)")
    parser.add_argument("--prompts", type=int, default=4, help="of one rank in a round (default: 4)")
    parser.add_argument("--tokens", type=int, default=64, help="of every response (default: 64)")
    parser.add_argument("--image", type=int, nargs=2, default=[160, 224], help="width and height of a screen")
    parser.add_argument("--repetitions", type=int, default=3, help="rounds of each that count (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="of each rank (default: 1)")
    arguments = parser.parse_args()

    from tracer1.errors import Tracer1Error
    from tracer1.training.bench.cases import Case, save_backbone
    from tracer1.training.bench.scaling import scaling_table, weak_scaling

    case = Case(tuple(arguments.image), arguments.tokens, arguments.prompts, threads=arguments.threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            planner = save_backbone(case, Path(folder) / "planner")
            run = (arguments.strategy, arguments.ranks, arguments.repetitions)
            found = weak_scaling(case, planner, *run, lambda line: print(line, file=sys.stderr))
    except Tracer1Error as error:
        sys.exit(f"error: {error}")
    print(scaling_table(found))


if __name__ == "__main__":
    main()
