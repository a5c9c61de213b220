"""How fast the sandbox answers, and how soon it ends attacks: `python tools/bench_sandbox.py [--sandbox bubblewrap]`.

The targets are a median call of at most 20 ms on a quiet machine, 50 calls a second on two cores, and the end of each attack within its
limit and a second.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled

from tracer1.errors import Tracer1Error
from tracer1.sandbox import Limits, open_sandbox
from tracer1.sandbox._bench import attacks, latency, throughput


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sandbox", default="bubblewrap", choices=("auto", "bubblewrap", "docker")
    )  # attacks want walls
    parser.add_argument("--calls", type=int, default=200, help="calls to time one by one (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="threads that ask at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long they ask (default: %(default)s)")
    chosen = parser.parse_args()
    if chosen.calls < 2 or chosen.workers < 1 or chosen.seconds <= 0:
        parser.error("--calls must be at least 2, --workers at least 1, --seconds above 0")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        sandbox = open_sandbox(chosen.sandbox)
    except Tracer1Error as error:
        print(error, file=sys.stderr)
        return 2
    try:
        for lines in (
            latency(sandbox, chosen.calls),
            throughput(sandbox, chosen.workers, chosen.seconds),
            attacks(sandbox, Limits()),
        ):
            for line in lines:
                print(line, flush=True)
    except KeyboardInterrupt:
        return 130
    finally:
        sandbox.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
