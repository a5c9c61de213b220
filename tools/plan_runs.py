"""Write what trainings of different models on different clusters would need and take, as tables of docs/scaling.md.

python tools/plan_runs.py                            # on the screen
python tools/plan_runs.py --write docs/scaling.md    # between that document's marks
python tools/plan_runs.py --model qwen3_vl_4b --nodes 1 4 -- assume.device=a100 assume.price=1.8
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error
from tracer1.training.dry_run.scaling import MODELS, NODES, scaling_tables, written_between_marks


def main() -> int:
    """Returns 0, or 2 for settings that cannot work."""
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=list(MODELS), help="of conf/model (default: %(default)s)")
    parser.add_argument("--nodes", nargs="+", type=int, default=list(NODES), help="machines (default: %(default)s)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the marks of a document")
    args = parser.parse_args(given[:cut])
    os.environ.setdefault("TRACER1_ROOT", str(Path(__file__).resolve().parents[1]))
    try:
        tables = scaling_tables(args.model, args.nodes, given[cut + 1 :])
        if args.write is None:
            print(tables)
        else:
            args.write.write_text(
                written_between_marks(args.write.read_text(encoding="utf-8"), tables), encoding="utf-8"
            )
    except (Tracer1Error, OSError) as error:
        print(f"plan_runs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
