"""One of several gloo ranks: `toy_other_ranks.py FOLDER PLANNER PHASE STRATEGY...` does what `test_other_ranks.py` asserts about.

`whole` trains four rounds and keeps all of their checkpoints; `third` and `fourth` go on for one round from what the phase before left.
"""

import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from toy_ranks import micro_batches
from toy_strategies import Batches, in_small_portions, strategy

from tracer1.models.policy import PolicyModule
from tracer1.training.callbacks import RunPosition
from tracer1.training.checkpoints import FolderCheckpointIO, KeepCheckpoints, check_kind, describe, for_ranks
from tracer1.training.strategies import keep_inputs

PHASES = {"whole": ("", 4), "third": ("whole/round-000002.ckpt", 3), "fourth": ("third/round-000003.ckpt", 4)}
PROMPT = {"horizon": 2, "style": "brief"}


class Place(Batches):
    """A stream that notes what it went on from."""

    taken: Any = None

    def position(self) -> dict[str, int]:
        return {"rank": int(os.environ["LOCAL_RANK"])}

    def restore(self, position: dict[str, int]) -> None:
        self.taken = position["rank"]

    def take_over(self, positions: list[dict[str, int]]) -> None:
        self.taken = [position["rank"] for position in positions]


def go(name: str, folder: Path, planner: Path, phase: str) -> None:
    start, rounds = PHASES[phase]
    rank, ranks = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    # whose steps do not blow up differences in the last bit, and whose moments are large
    policy = PolicyModule(
        str(planner), prompt=PROMPT, optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.01, eps=0.01)
    )
    stream = Place(micro_batches(policy, 1, (rank, ranks), blind=False))
    config = {"run_name": name, "model": {"path": str(planner), "prompt": PROMPT}}
    trainer = L.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=strategy(name) if ranks > 1 or name != "ddp" else "auto",
        max_epochs=rounds,
        callbacks=[RunPosition(stream, None), KeepCheckpoints(folder / name / phase, 1, 9, config=config)],
        plugins=[FolderCheckpointIO()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        accumulate_grad_batches=len(stream),
    )
    load = None
    if start:
        path = folder / name / start
        check_kind(path, describe(path), trainer.strategy)
        load = str(for_ranks(path, describe(path), trainer))
    keep_inputs(trainer).fit(policy, stream, ckpt_path=load, weights_only=False)
    weights = {key: weight.clone() for key, weight in policy.weights()}
    if rank == 0:
        torch.save({"weights": weights, "taken": stream.taken}, folder / f"{name}.{phase}.pt")


def main(folder: Path, planner: Path, phase: str, names: list[str]) -> None:
    torch.set_num_threads(1)
    in_small_portions()
    for name in names:
        go(name, folder, planner, phase)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
