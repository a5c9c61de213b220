"""Score recorded actions under a benchmark's rule, without a model: JSON lines in, one JSON object per line out.

A line: {"gold": {..}, "predicted": {..}}, or "predicted": null for an answer that could not be read. An action: {"action_type",
"point": [x, y], "box": [x1, y1, x2, y2], "content", "direction", "app_name", "key"}, all but the type optional. Places are 0 to 1000
of the screenshot; a direction is the side that is revealed. More of a gold action: "boxes", several; "image_size" [width, height]
in pixels (android_control.qwen25, .os_genesis); "elements" [{"name", "box", "positive"}] (mind2web.original; "element" names one).

Out: {"type_match", "click_match" (null where the gold action has no place), "success"}; for Mind2Web {"element_accuracy",
"operation_f1", "success"}, all null where the rule leaves the step out.

    python tools/score_actions.py --rule android_control.os_atlas --set compat=true actions.jsonl
"""

import argparse
import contextlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error
from tracer1.metrics.action_lines import score_action_lines
from tracer1.metrics.rules import RULES, make_rule
from tracer1.scoring import settings_from_texts


def read_arguments() -> argparse.Namespace:
    """The command line; exits with code 2 and the usage when it cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", metavar="NAME", required=True, help=", ".join(RULES.names()))
    parser.add_argument("--set", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help="its settings")
    parser.add_argument("file", nargs="?", help="JSON lines, or - for stdin")
    args = parser.parse_args()
    if args.file is None and args.set and ("=" not in args.set[-1] or os.path.exists(args.set[-1])):
        args.file = args.set.pop()  # argparse gives --set all that follows it, the file included
    if args.file is None:
        parser.error("name a file of JSON lines, or - for stdin")
    return args


def main() -> int:
    """Prints the verdicts; returns 0, or 2 after one line on stderr that says what is wrong."""
    args = read_arguments()
    try:
        rule = make_rule(args.rule, settings_from_texts(args.set))
        with contextlib.nullcontext(sys.stdin.buffer) if args.file == "-" else open(args.file, "rb") as lines:
            for verdict in score_action_lines(lines, rule, args.file):
                print(json.dumps(verdict))
    except (Tracer1Error, OSError) as error:
        print(f"score_actions: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
