"""Score recorded responses with a reward, without a model: JSON lines in, one JSON object per line out.

Each input line: {"response": "<think>..</think><answer>Step 1: {..}</answer>", "reference": "Step 1: {..}" or [{..}, ..]}
Optional keys: boxes [[x1, y1, x2, y2], ..] in 0..1000 around the target of the reference's first step; starts_in_think (the
response begins inside <think>); key (a name for messages). image_width and image_height are allowed and ignored.

    python tools/score_plans.py --reward trajectory_alignment --set gamma=0.9 done_bonus=0 responses.jsonl
    python tools/score_plans.py --config conf/reward/stage1.yaml - < responses.jsonl
"""

import argparse
import contextlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error
from tracer1.rewards import REWARDS
from tracer1.scoring import reward_from_file, reward_from_settings, score_lines


def read_arguments() -> argparse.Namespace:
    """The command line; exits with code 2 and the usage when it cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--reward", metavar="NAME", help=f"one registered reward: {', '.join(REWARDS.names())}")
    source.add_argument("--config", metavar="FILE.yaml", help="a composed reward: a YAML file with `terms:`")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help="settings of --reward"
    )
    parser.add_argument("file", nargs="?", help="JSON lines, or - for stdin")
    args = parser.parse_args()
    if args.file is None and args.set:
        args.file = args.set.pop()  # argparse gives --set all that follows it, the file included
    if args.file is None:
        parser.error("name a file of JSON lines, or - for stdin")
    if args.set and not args.reward:
        parser.error("--set needs --reward; write the settings of a composed reward into its file")
    return args


def main() -> int:
    """Prints the scores; returns 0, or 2 after one line on stderr that says what is wrong."""
    args = read_arguments()
    try:
        reward = reward_from_settings(args.reward, args.set) if args.reward else reward_from_file(args.config)
        with contextlib.nullcontext(sys.stdin.buffer) if args.file == "-" else open(args.file, "rb") as lines:
            for score in score_lines(lines, reward, args.file):
                print(json.dumps(score))
    except (Tracer1Error, OSError) as error:
        print(f"score_plans: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
