"""Writes one HTML page of recorded episodes, to look at in a browser.

    python tools/show_episode.py outputs/agent/episodes.jsonl --out outputs/agent/episodes.html

Each step is shown with its screenshot, the executed action and the imagined next steps on it, the thought, the plan and the retries.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled

from tracer1.data.page_file import write_page
from tracer1.errors import Tracer1Error
from tracer1.plan_act.page import choose, page
from tracer1.plan_act.reading import read_record


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path, help="episodes.jsonl of a run of agent.py, or the run's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="the page, e.g. episodes.html")
    parser.add_argument("--episode", type=int, metavar="N", help="only this one, counted from 1 (default: all)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        recording = read_record(args.record)
        episodes = choose(recording, args.episode)
        size = write_page(page(recording, episodes), args.out)
    except Tracer1Error as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{args.out}: {len(episodes)} episodes, {sum(len(e.turns) for e in episodes)} steps, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
