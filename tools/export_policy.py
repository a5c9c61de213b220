"""Writes the policy of a checkpoint as a Hugging Face folder that transformers and vLLM load, with a model card. No GPU is needed.

    python tools/export_policy.py outputs/stage1_gui policies/stage1                     # a run's newest checkpoint
    python tools/export_policy.py outputs/stage1_gui policies/best --best                # the best that it kept
    python tools/export_policy.py outputs/stage1_gui/round-000140.ckpt policies/r140 --merge-lora

Checkpoints of every strategy are read, those of several ranks too. Where LoRA was trained, the adapters are written in PEFT's
format unless they are to be merged.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # lets it run uninstalled

from tracer1.errors import Tracer1Error


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="PATH", help="a checkpoint, or a run's folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument(
        "--best", action="store_true", help="of a run's folder the best checkpoint (checkpoint.keep_best)"
    )
    parser.add_argument("--merge-lora", action="store_true", help="write the whole model, adapters merged in")
    parser.add_argument("--model", metavar="PATH", help="where the model lies that the run began with, if it has moved")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    from tracer1.training.checkpoints.export import export_checkpoint  # only now: it loads torch
    from tracer1.training.entry import quiet_libraries

    quiet_libraries()
    try:
        done = export_checkpoint(args.source, args.out, best=args.best, merge_lora=args.merge_lora, model=args.model)
    except Tracer1Error as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped: nothing was written.", file=sys.stderr)
        return 130
    print(f"{args.out}: {'the adapters' if done.adapter else 'the policy'} of {done.checkpoint} (round {done.round})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
