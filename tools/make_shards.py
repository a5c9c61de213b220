"""Converts a raw data set, as its owner releases it, into shards of steps. Stopped at any time, the same command goes on.

    python tools/make_shards.py android_control --source /raw/android_control --out data/android_control
    python tools/make_shards.py agentnet --source /raw/AgentNet --out data/agentnet --workers 8 --limit 100

Exit code 0: done. 2: something is wrong, and one line says what. 130: stopped with Ctrl-C.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled

from tracer1.errors import Tracer1Error


def parse(argv: list[str] | None) -> dict[str, object]:
    """The command line as the arguments of `Conversion`."""
    from tracer1.data.converters import CONVERTERS
    from tracer1.data.splits import CHOICES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("dataset", help=", ".join(CONVERTERS.names()))
    add("--source", type=Path, required=True, help="the folder or file that the owner releases")
    add("--out", type=Path, required=True, help="folder of the shards")
    add("--split", dest="splits", nargs="+", choices=CHOICES, default=["train", "val"], help="default: train val")
    add("--workers", type=int, metavar="N", help="processes (default: all cores)")
    add("--limit", type=int, metavar="N", help="the first N trajectories only")
    add("--max-shard-mb", type=float, default=512, help="size of a shard (default: %(default)s)")
    add("--val-fraction", type=float, default=0.02, help="where the owner has no split (default: %(default)s)")
    add("--plugin", dest="plugins", action="append", default=[], metavar="MODULE", help="has a converter of yours")
    return vars(parser.parse_args(argv))


def main(argv: list[str] | None = None) -> int:
    """Converts; returns the exit code."""
    try:
        options = parse(argv)
        from rich.console import Console

        from tracer1.data.conversion import Conversion, convert
        from tracer1.training.entry import load_plugins

        load_plugins(options["plugins"])
        convert(Conversion(**options), Console(stderr=True))
    except (Tracer1Error, OSError) as error:
        print(f"make_shards: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What is finished is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
