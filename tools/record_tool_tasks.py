#!/usr/bin/env python
"""Makes tool-use tasks with files of their own, solves each by really calling the tools, and writes those that come out right.

python tools/record_tool_tasks.py --seeds 0:600 --split train --out demo/tool_tasks
python tools/record_tool_tasks.py --seeds 600:720 --split heldout --out demo/tool_tasks
The shards lie in the folder, the tasks' files in its `files/` (executor.files). The same seeds give the same bytes.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> None:
    """Reads the arguments; the work is in `tracer1.toolbox.tasks`."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("data/tool_tasks"), help="folder (default: %(default)s)")
    p.add_argument("--seeds", type=_seeds, default=range(100), metavar="A:B", help="one task each, B excluded (default: 0:100)")
    p.add_argument("--split", default="train", choices=("train", "heldout"), help="whose people, shops and layouts (default: %(default)s)")
    p.add_argument("--workers", type=int, default=2, help="tasks that run at the same time (default: %(default)s)")
    p.add_argument("--sandbox", default="auto", help="where the tools run, as executor.sandbox (default: %(default)s)")
    args = p.parse_args()

    from rich.console import Console
    from rich.progress import track

    from tracer1.data.shards import write_shards
    from tracer1.sandbox import open_sandbox
    from tracer1.toolbox.tasks.families import make_task
    from tracer1.toolbox.tasks.record import DATASET, TOOLS, record, write_files
    from tracer1.toolbox.tasks.survey import counted
    from tracer1.toolbox.toolbox import Toolbox

    console, results = Console(stderr=True), []
    sandbox = open_sandbox(args.sandbox)
    try:
        jobs = [make_task(seed, args.split) for seed in args.seeds]
        running = track(record(jobs, Toolbox(TOOLS, sandbox=sandbox), args.workers), "recording", len(jobs), console=console)
        kept = write_files((results.append(result) or result for result in running), args.out / "files")
        write_shards(kept, args.out, split=args.split, prefix=DATASET, max_shard_mb=64, compress=True)
    finally:
        sandbox.close()
    console.print(counted(results, args.out))


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last))


if __name__ == "__main__":
    from tracer1.errors import Tracer1Error

    try:
        main()
    except Tracer1Error as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("record_tool_tasks: stopped. Shards that were finished are whole and stay.")
