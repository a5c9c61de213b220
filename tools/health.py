"""Say whether a training is alive: its last sign of life and how old it is; exit code 1 when that is too long ago.

What Docker's HEALTHCHECK and a pod's liveness probe ask. A stage reports its progress all the time; an engine that samples in one call,
the load of a model and a checkpoint do not, so be generous.

    python tools/health.py outputs/stage1_gui --older-than 3600
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.errors import DataError
from tracer1.training.heartbeat import last_sign


def main() -> int:
    """Returns 0 for a living run, 1 for one that was silent too long or never spoke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a run's folder, or one that holds runs: then the liveliest counts")
    parser.add_argument("--older-than", type=float, default=3600, metavar="SECONDS", help="(default: %(default)s)")
    args = parser.parse_args()
    try:
        sign, age = last_sign(args.folder)
    except DataError as error:
        print(f"health: {error}", file=sys.stderr)
        return 1
    print(f"{sign}, {age:.0f} s ago")
    return 1 if age > args.older_than else 0


if __name__ == "__main__":
    sys.exit(main())
