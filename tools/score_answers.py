"""Score recorded final answers under a benchmark's rule, without a model: JSON lines in, one JSON object per line out.

A line: {"prediction": .., "gold": ..}. The gold of gta_official and gta_t3 is {"whitelist": [[alias, ..], ..], "blacklist": [[..], ..]
or null}, a list of texts (subjective queries) or null (queries for an image); of gaia the text of the answer. A prediction of null is a
missing answer; any other value is read as text.

Out: {"correct", "counted"}. Not counted: null under both GTA rules; under gta_t3 also lists and aliases without a group. gta_official
answers lists by the likeness of sentences, 0 to 1, with --embedder, a folder with sentence-transformers/all-mpnet-base-v2; without it
they are not computed: {"correct": null, "counted": false, "reason": ..}.

    python tools/score_answers.py --rule gta_t3 answers.jsonl
"""

import argparse
import contextlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error
from tracer1.metrics.answer_lines import make_answer_rule, score_answer_lines
from tracer1.metrics.answer_rules import ANSWER_RULES


def read_arguments() -> argparse.Namespace:
    """The command line; exits with code 2 and the usage when it cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", metavar="NAME", required=True, help=", ".join(ANSWER_RULES.names()))
    parser.add_argument("--embedder", metavar="MODEL", default="", help="compares sentences, for gta_official")
    parser.add_argument("file", help="JSON lines, or - for stdin")
    return parser.parse_args()


def main() -> int:
    """Prints the verdicts; returns 0, or 2 after one line on stderr that says what is wrong."""
    args = read_arguments()
    try:
        rule = make_answer_rule(args.rule, args.embedder)
        with contextlib.nullcontext(sys.stdin.buffer) if args.file == "-" else open(args.file, "rb") as lines:
            for verdict in score_answer_lines(lines, rule, args.file):
                print(json.dumps(verdict))
    except (Tracer1Error, OSError) as error:
        print(f"score_answers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
