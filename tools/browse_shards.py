"""Writes one HTML page of trajectories sampled from a folder of shards, to look at in a browser.

    python tools/browse_shards.py data/agentnet --out outputs/agentnet.html --trajectories 12

Each step is shown with its screenshot and the action drawn on it, the goal, the history and the reference plan.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled

from tracer1.data.gallery import sample_trajectories, write_gallery
from tracer1.data.inspection import find_shards
from tracer1.errors import Tracer1Error


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the shards are, also in folders below")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="the page, e.g. gallery.html")
    parser.add_argument("--trajectories", type=int, default=8, metavar="N", help="how many (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws others (default: 0)")
    parser.add_argument("--dataset", metavar="NAME", help="only of this data set")
    args = parser.parse_args(argv)
    if args.trajectories < 1:
        parser.error(f"--trajectories is {args.trajectories}; it must be at least 1")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        found = sample_trajectories(find_shards(args.folder), args.trajectories, args.seed, args.dataset)
        size = write_gallery(found, args.out, f"{args.dataset or args.folder.resolve().name}: {args.folder}")
    except Tracer1Error as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; no page was written.", file=sys.stderr)
        return 130
    print(f"{args.out}: {len(found)} trajectories, {sum(map(len, found))} steps, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
