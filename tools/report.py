"""Gathers everything that runs have left in their folders into one HTML page, with tables, plots and samples.

    python tools/report.py outputs/demo --out report.html
    python tools/report.py outputs/sweeps/ablation_horizon outputs/miniwob --out outputs/report.html

A folder may be one run's or hold many: trainings, evaluations, benchmarks and episodes are found by their files. Nothing is computed again.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled

from tracer1.data.page_file import write_page
from tracer1.errors import Tracer1Error
from tracer1.report.page import report


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="PATH", help="a run's folder, or a folder of runs")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="the page, e.g. report.html")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        size = write_page(report(args.runs, args.out), args.out)
    except Tracer1Error as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped: nothing was written.", file=sys.stderr)
        return 130
    print(f"{args.out}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
