"""Makes tool-use tasks with files of their own, solves each by really calling the tools, and writes those that come out right.

python tools/record_tool_tasks.py --seeds 0:600 --split train --out demo/tool_tasks
python tools/record_tool_tasks.py --seeds 600:720 --split heldout --out demo/tool_tasks     # their files: demo/tool_tasks/files
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tracer1.data.shards import write_shards
from tracer1.errors import Tracer1Error
from tracer1.sandbox import open_sandbox
from tracer1.toolbox.tasks.families import make_task
from tracer1.toolbox.tasks.record import DATASET, TOOLS, record, write_files
from tracer1.toolbox.tasks.survey import counted
from tracer1.toolbox.tasks.task import SPLITS
from tracer1.toolbox.toolbox import Toolbox


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("data/tool_tasks"), help="folder (default: %(default)s)")
    p.add_argument("--seeds", type=_seeds, default=range(120), metavar="A:B", help="a task each; B excluded")
    p.add_argument("--split", default="train", choices=SPLITS, help="whose people, shops, layouts (default: train)")
    p.add_argument("--workers", type=int, default=2, help="tasks that run at the same time (default: %(default)s)")
    p.add_argument("--sandbox", default="auto", help="where the tools run, as executor.sandbox (default: auto)")
    args = p.parse_args()
    console, results = Console(stderr=True), []
    sandbox = open_sandbox(args.sandbox)
    try:
        jobs = [make_task(seed, args.split) for seed in args.seeds]
        running = record(jobs, Toolbox(TOOLS, sandbox=sandbox), args.workers)
        shown = (results.append(r) or r for r in track(running, "recording", total=len(jobs), console=console))
        kept = write_files(shown, args.out / "files")
        write_shards(kept, args.out, split=args.split, prefix=DATASET, max_shard_mb=64, compress=True)
    finally:
        sandbox.close()
    console.print(counted(results, args.out))


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of seeds; write 0:600")
    return range(int(first), int(last))


if __name__ == "__main__":
    try:
        main()
    except (Tracer1Error, OSError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("record_tool_tasks: stopped. Shards that were finished are whole and stay.")
