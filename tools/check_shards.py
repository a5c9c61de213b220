"""Checks every step of a folder of shards and says what is in it.

    python tools/check_shards.py data/agentnet --images --json outputs/check.json

Exit code 0: all is well. 2: something is broken, and one line says what (with --keep-going one line each).
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled

from tracer1.data.inspection import Inspection, find_shards, inspect, tables
from tracer1.errors import Tracer1Error


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the shards are, also in folders below")
    parser.add_argument("--images", action="store_true", help="decode every screenshot and compare checksums")
    parser.add_argument("--keep-going", action="store_true", help="list all that is broken instead of the first")
    parser.add_argument("--json", type=Path, metavar="PATH", help="save the counts, e.g. as check.json")
    return parser.parse_args(argv)


def check(args: argparse.Namespace) -> Inspection:
    shards = find_shards(args.folder)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("reading", total=sum(path.stat().st_size for path in shards))

        def done(size: int) -> None:
            progress.advance(task, size)

        return inspect(shards, args.folder, images=args.images, keep_going=args.keep_going, done=done)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        found = check(args)
    except Tracer1Error as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    console = Console()
    Console(width=console.width if console.is_terminal else 200).print(*tables(found), sep="\n")
    print(*found.problems, sep="\n", end="\n" if found.problems else "", file=sys.stderr)
    return 2 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
