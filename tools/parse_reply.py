"""Read recorded replies of a frozen GUI model as a training would: JSON lines in, one JSON object per line out.

A line: {"text": the reply, "image_width": of the screenshot in pixels, "image_height"}.

Out: {"thought", "actions": [{"action_type", "point": [x, y], "end_point", "content", "key", "direction", "app_name"}], "error"}.
Places are 0 to 1000 of the screenshot, a direction is the side that is revealed, and what there is not is null. Of several actions
a training executes the first; they end before the one that "error" speaks of.

    python tools/parse_reply.py --executor ui_tars_7b replies.jsonl
"""

import argparse
import contextlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error
from tracer1.executors._configs import frozen_names, make_frozen
from tracer1.executors._reply_lines import parse_lines


def read_arguments() -> argparse.Namespace:
    """The command line; exits with code 2 and the usage when it cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", metavar="NAME", required=True, help=", ".join(frozen_names()))
    parser.add_argument("file", help="JSON lines, or - for stdin")
    return parser.parse_args()


def main() -> int:
    """Prints what the replies say; returns 0, or 2 after one line on stderr that says what is wrong."""
    args = read_arguments()
    try:
        dialect = make_frozen(args.executor).frozen.dialect
        with contextlib.nullcontext(sys.stdin.buffer) if args.file == "-" else open(args.file, "rb") as lines:
            for parsed in parse_lines(lines, dialect, args.file):
                print(json.dumps(parsed))
    except (Tracer1Error, OSError) as error:
        print(f"parse_reply: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
