"""Measures how fast shards feed a training, and whether memory stays flat.

    python tools/bench_data.py all --out outputs/bench_data     # some 10 minutes; datasets and matplotlib: '.[bench]'
    python tools/bench_data.py scaling --workers 0 1 2 4 8 16   # one of speed, scaling, memory; OUT collects them
    python tools/bench_data.py all --quick                      # the smallest that goes through everything

Speed: generated 1280x720 screenshots; plain decoding with one process per core, the data module with as many workers, and Hugging
Face datasets on the same records, in turns. Memory: of all processes while 100,000 different steps go by.
Tables go to stdout; OUT gets bench_data.json and data_performance.png.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("all", "speed", "scaling", "memory"))
    parser.add_argument("--out", type=Path, default=Path("outputs/bench_data"), help="folder (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=9, help="of each feed, in turns (default: 9)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4], help="whose scaling is measured")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repetition: does it run?")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    from tracer1.data.bench.runs import Sizes, memory, scaling, speed, tables, write
    from tracer1.errors import Tracer1Error

    if args.quick:
        sizes = Sizes(96, 1, 8, 1, 240, 24, tuple(args.workers[:2]))
    else:
        sizes = Sizes(repetitions=args.repetitions, workers=tuple(args.workers))

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    try:
        figures = {}
        for name, run in {"speed": speed, "scaling": scaling, "memory": memory}.items():
            if args.command in (name, "all"):
                figures |= run(sizes, say)
        print(tables(figures))
        print(*write(figures, args.out), sep="\n")
    except Tracer1Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; nothing was written.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
