#!/usr/bin/env python
"""Draws and prints studies (`train.py +experiment=ablation_...`) from MLflow alone.

python tools/plot_ablation.py --study horizon                       # the table, and docs/figures/ablation_horizon.svg
python tools/plot_ablation.py --study all --markdown docs/findings.md    # every study there is; fills in the page's tables
python tools/plot_ablation.py --study gamma --out gamma.png --tracking-uri http://host:5000
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error


def read_arguments() -> argparse.Namespace:
    """The command line; exits with code 2 and the usage when it cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True, metavar="NAME", help="horizon, gamma, ..., or all")
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db", help="where MLflow is (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default="docs/figures", help="one study's .svg or .png, or a folder (default: %(default)s)"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="PAGE", help="also fill in the page's blocks `<!-- study NAME -->`"
    )
    return parser.parse_args()


def main() -> int:
    """Prints and draws; returns 0, or 2 after one line on stderr that says what is wrong."""
    args = read_arguments()
    try:
        from tracer1.tracking.mlflow_store import check_there
        from tracer1.tracking.plots import write_plot
        from tracer1.tracking.studies import StudyStore
        from tracer1.tracking.study_tables import draw, fill, markdown, picture_path

        check_there(args.tracking_uri)
        store = StudyStore(args.tracking_uri)
        names = (store.names() or [args.study]) if args.study == "all" else [args.study]
        studies = [store.read(name) for name in names]
        blocks = {runs.name: markdown(runs) for runs in studies}
        for runs in studies:
            path = write_plot(draw(runs), picture_path(args.out, runs.name, alone=len(studies) == 1))
            print(f"{runs.name}: {runs.about.get('claim', '')}\n\n{blocks[runs.name]}\n\n{path}\n")
        if args.markdown is not None:
            print(f"{fill(args.markdown, blocks)} tables filled in in {args.markdown}")
    except (Tracer1Error, OSError) as error:
        print(f"plot_ablation: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
