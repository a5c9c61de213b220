"""Time a round of executions by a frozen GUI executor against a local server that spoils a share of its answers.

The default is a round of the paper: 512 prompts of 5 rollouts, 5 % of the answers refused, slow, cut off or no JSON. Prints one JSON
object: rollouts per second, CPU time, and what became of every rollout. A second round is answered from the cache of the first.

    python tools/bench_executors.py
    python tools/bench_executors.py --distinct 2 --faults 0.3 --attempts 1
"""

import argparse
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error
from tracer1.training.bench.executions import Load, measure


def read_arguments() -> argparse.Namespace:
    """The command line; exits with code 2 and the usage when it cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=512, help="screenshots of the round")
    parser.add_argument("--group", type=int, default=5, help="rollouts of each")
    parser.add_argument("--distinct", type=int, default=5, help="different instructions within a group")
    parser.add_argument("--faults", type=float, default=0.05, help="share of spoilt answers, 0 to 1")
    parser.add_argument("--slow-s", type=float, default=10.0, help="how long a slow answer takes, in seconds")
    parser.add_argument("--timeout-s", type=float, default=3.0, help="how long one is waited for, in seconds")
    parser.add_argument("--attempts", type=int, default=4, help="of one request")
    parser.add_argument("--concurrency", type=int, default=64, help="requests under way at once")
    return parser.parse_args()


def main() -> int:
    """Prints the figures; returns 0, 1 where a rollout was lost or mixed up, or 2 for settings that cannot work."""
    args = read_arguments()
    load = Load(args.prompts, args.group, args.distinct, args.faults, args.slow_s)
    settings = {"timeout_s": args.timeout_s, "attempts": args.attempts, "concurrency": args.concurrency}
    try:
        with tempfile.TemporaryDirectory(prefix="tracer1-bench-") as cache:
            rounds = {name: measure(load, settings, cache) for name in ("first", "again")}
    except Tracer1Error as error:
        print(f"bench_executors: {error}", file=sys.stderr)
        return 2
    print(json.dumps(rounds, indent=1))
    told = [figures["outcomes"] for figures in rounds.values()]
    return int(any(o.get("executed", 0) + o.get("masked", 0) != load.prompts * load.group for o in told))


if __name__ == "__main__":
    sys.exit(main())
