"""Run the code of recorded MM-Traj trajectories again and count which steps give what they gave, without a model or the network.

    python tools/replay_mm_traj.py /raw/mm_traj
    python tools/replay_mm_traj.py /raw/mm_traj --sandbox unsafe --files /raw/mm_traj/files

Tools answer what they gave when they were recorded; a step without a tool really runs, in the sandbox, in the state that the steps
before it left. The converter has already left out what does not parse, see the report of tools/make_shards.py.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.data.converters import CONVERTERS
from tracer1.data.records import reread
from tracer1.errors import Tracer1Error
from tracer1.executors._t3_survey import run_again, survey_text
from tracer1.executors.t3 import T3Executor


def main() -> int:
    """Prints the table; returns 0, or 2 after one line on stderr that says what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the folder with the data set's JSON files, or one of them")
    parser.add_argument("--sandbox", default="auto", help="auto | bubblewrap | docker | http | unsafe")
    parser.add_argument("--files", nargs="*", default=[], help="folders with the files that the tasks name")
    args = parser.parse_args()
    try:
        converter = CONVERTERS.get("mm_traj")
        executor = T3Executor(sandbox=args.sandbox, files=args.files)
        rows = []
        for unit in converter.units(args.source):
            for done in converter.read(unit):
                rows += run_again(executor.terms, reread(done.steps)) if done.steps else []
        executor.close()
        print(survey_text(rows))
    except (Tracer1Error, OSError) as error:
        print(f"replay_mm_traj: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
