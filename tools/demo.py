#!/usr/bin/env python
"""The main job in small, on what the repository ships: stage 1, stage 2, an evaluation of each, a table.

    make demo                              # installs, then runs this
    .venv/bin/python tools/demo.py --seeds 1 2 3
    .venv/bin/python tools/demo.py --demo tool        # tool use instead of web pages: needs bubblewrap, tesseract-ocr, '.[tools]'
Stopped half-way, it goes on from the last checkpoint when it is run again.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> None:
    """Reads the arguments; the work is in `tracer1.training.demo`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", choices=("gui", "tool"), default="gui", help="web pages or tool use (default: gui)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="one pass for each (default: 1)")
    parser.add_argument("--out", type=Path, help="folder of the runs (default: outputs/demo, outputs/demo_tool)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides for the trainings")
    arguments = parser.parse_args()

    from tracer1.errors import Tracer1Error
    from tracer1.training.demo import DEMOS, check, run_seed, show

    demo = DEMOS[arguments.demo]
    out = arguments.out or Path(demo.outputs)
    try:
        check(demo, arguments.set)
        scores = [run_seed(demo, seed, out / f"seed{seed}", arguments.set) for seed in arguments.seeds]
    except Tracer1Error as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Run the same command again to go on from the last checkpoint.\n")
        sys.exit(130)
    show(demo, scores, out)


if __name__ == "__main__":
    main()
