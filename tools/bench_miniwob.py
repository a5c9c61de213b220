"""How many MiniWoB++ episodes a second the browser plays, and whether killing parts of it loses any.

python tools/bench_miniwob.py                                  # episodes/s with 1, 2, 4 and 8 environments
python tools/bench_miniwob.py --phases                         # what each part of an episode costs
python tools/bench_miniwob.py --endurance 1000 --kills 60      # 60 pages, browsers and drivers are killed in between

The policy is a script: the expert's actions. Every one is followed by a screenshot, and every episode has a document of its own.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._miniwob.bench import EASY, endurance, scripts, throughput
from tracer1.environments._miniwob.phases import phases
from tracer1.errors import Tracer1Error


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--environments", type=int, nargs="+", metavar="K", help="side by side (default: 1 2 4 8, or 4)")
    p.add_argument("--tasks", nargs="+", default=EASY, metavar="TASK", help="or `demo`, `all` (default: 5 easy)")
    p.add_argument("--seconds", type=float, default=10, help="for each K (default: %(default)s)")
    p.add_argument("--phases", action="store_true", help="what each part of an episode costs, on one page")
    p.add_argument("--endurance", type=int, metavar="EPISODES", help="play so many and kill processes in between")
    p.add_argument("--kills", type=int, default=60, help="processes that --endurance kills (default: %(default)s)")
    p.add_argument("-v", "--verbose", action="store_true", help="say which episodes broke off, and why")
    args = p.parse_args()
    counts = args.environments or ([4] if args.endurance else [1, 2, 4, 8])
    if min(counts) < 1 or args.seconds <= 0 or (args.endurance or 1) < 1 or args.kills < 0:
        p.error("--environments and --endurance must be at least 1, --seconds above 0, --kills not negative")
    logging.basicConfig(level=logging.INFO if args.verbose else logging.ERROR, format="%(message)s")

    if args.phases:
        print(*phases(args.tasks), sep="\n")
        return
    some = scripts(args.tasks)
    for count in counts:
        environments = [ENVIRONMENTS.get("miniwob")() for _ in range(count)]
        try:
            if args.endurance:
                for line in endurance(environments, some, args.endurance, args.kills):
                    print(line, flush=True)
            else:
                print(throughput(environments, some, args.seconds), flush=True)
        finally:
            for environment in environments:
                environment.close()


if __name__ == "__main__":
    try:
        main()
    except (Tracer1Error, KeyboardInterrupt) as error:
        sys.exit(f"bench_miniwob: {str(error) or 'stopped.'}")
