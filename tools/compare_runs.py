"""Compares runs: what differs in their settings, their figures with the spread over seeds, and curves one upon the other.

python tools/compare_runs.py outputs/demo_stage1 outputs/sweeps/lower_lr            # folders of runs
python tools/compare_runs.py 3f2a9c "demo_stage1 seed=2" --tracking-uri http://host:5000 --tracking-uri sqlite:///mlflow.db
python tools/compare_runs.py --experiment tracer1 --best-by val/heldout/step_success --top 3

A RUN is a run's folder or a folder of runs, its id in MLflow or the beginning of it, its name, or a sweep: then all of its jobs.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; exits with code 2 and the usage when it cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN", help="what is compared; the first is what others are measured against")
    add("--tracking-uri", action="append", default=[], metavar="URI", help="an MLflow store; again for more")
    add("--experiment", metavar="NAME", help="instead of runs: the best, or the newest, of an experiment")
    add("--best-by", metavar="METRIC", help="of an experiment: by the last value of this metric")
    add("--top", type=int, default=5, metavar="N", help="of an experiment: how many (default: %(default)s)")
    add("--out", type=Path, default="outputs/comparison", metavar="DIR", help="page and curves (default: %(default)s)")
    args = parser.parse_args(argv)
    if bool(args.runs) == bool(args.experiment):
        parser.error("name runs, or an --experiment")
    return args


def main(argv: list[str] | None = None) -> int:
    """Prints and writes; returns 0, or 2 after one line on stderr that says what is wrong."""
    args = read_arguments(argv)
    try:
        from tracer1.report.chosen import choose
        from tracer1.report.comparison import compare
        from tracer1.report.comparison_page import as_text, write_comparison

        chosen = choose(args.runs, args.tracking_uri, args.experiment, args.best_by, args.top)
        found = compare(list(chosen))
        print(as_text(found))
        page, pictures = write_comparison(found, chosen, args.out)
        print(f"\n{page}, and {pictures} curves beside it")
    except Tracer1Error as error:
        print(f"compare_runs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
