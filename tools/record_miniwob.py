"""Records expert trajectories from MiniWoB++ pages into shards, lists the tasks, or checks the expert on unused seeds.

python tools/record_miniwob.py --tasks demo --seeds 0:100 --out data/miniwob --split train
python tools/record_miniwob.py --tasks all --verify 20 --seed-start 100000 --report verify.json
python tools/record_miniwob.py --list
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tracer1.data.shards import write_shards
from tracer1.environments._miniwob.record import record
from tracer1.environments._miniwob.rules import rules_for
from tracer1.environments._miniwob.survey import as_table, save, stored, survey, totals
from tracer1.errors import Tracer1Error


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tasks", nargs="+", default=["demo"], metavar="TASK", help="names, `demo` or `all`")
    p.add_argument("--seeds", type=lambda t: range(*map(int, t.split(":"))), default=range(100), help="A:B, B excluded")
    p.add_argument("--out", type=Path, default=Path("data/miniwob"), help="folder of the shards (default: %(default)s)")
    p.add_argument("--split", default="train", help="stored with each step, and in the name (default: %(default)s)")
    p.add_argument("--shard-mb", type=float, default=64, help="size before compression (default: %(default)s)")
    p.add_argument("--workers", type=int, default=4, help="pages open at the same time (default: %(default)s)")
    p.add_argument("--list", action="store_true", help="print all tasks as last verified, and stop")
    p.add_argument("--verify", type=int, metavar="N", help="write no shards: try N seeds per task, print the score")
    p.add_argument("--seed-start", type=int, default=100000, help="the first seed of --verify (default: %(default)s)")
    p.add_argument("--report", type=Path, help="where --verify saves its table as JSON")
    args = p.parse_args()

    console = Console(width=max(Console().width, 120))
    rules = rules_for(["all"] if args.list else args.tasks)
    if args.list:
        sys.exit(console.print(as_table(stored(rules))))
    seeds = args.seeds if args.verify is None else range(args.seed_start, args.seed_start + args.verify)
    jobs = [(rule, seed) for seed in seeds for rule in rules]  # seed by seed: a set that is cut short has all tasks
    results = track(record(jobs, args.workers), "recording", total=len(jobs), console=console)
    if args.verify is None:
        done = []
        solved = (result.steps for result in results if done.append(result) or result.solved)
        options = {"split": args.split, "prefix": "miniwob", "max_shard_mb": args.shard_mb, "compress": True}
        console.print(*write_shards(solved, args.out, **options))
        results = done
    scores = survey(rules, results)
    console.print(as_table(scores), totals(scores), sep="\n")
    if args.report:
        save(scores, args.report, f"seeds {seeds.start} to {seeds.stop - 1}, raw reward exactly 1")


if __name__ == "__main__":
    try:
        main()
    except (Tracer1Error, KeyboardInterrupt) as error:
        sys.exit(f"record_miniwob: {str(error) or 'stopped. Shards that were finished are whole and stay.'}")
