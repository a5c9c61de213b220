"""Other numbers of gloo ranks: `toy_other_ranks.py FOLDER PLANNER STRATEGY...` does what `test_other_ranks.py` asserts about.

`whole` trains three rounds on two ranks and keeps all of their checkpoints; `one` goes on from its first for a round on one rank, and
`two` from there on two. What takes longest, the imports, is done once: ranks are forked.
"""

import multiprocessing
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from toy_ranks import micro_batches
from toy_strategies import Batches, in_small_portions, strategy

from tracer1.models.policy import PolicyModule
from tracer1.training.callbacks import RunPosition
from tracer1.training.checkpoints import FolderCheckpointIO, KeepCheckpoints, RunFacts, check_kind, describe, for_ranks
from tracer1.training.strategies import keep_inputs

# name -> ranks, what it goes on from, the last round
PHASES = {"whole": (2, "", 3), "one": (1, "whole/round-000001.ckpt", 2), "two": (2, "one/round-000002.ckpt", 3)}
LIMIT_S = 280  # of all phases, on a machine that is busy with other things
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


def go(name: str, folder: Path, planner: Path, phase: str, rank: int) -> None:
    ranks, start, rounds = PHASES[phase]
    # whose steps do not blow up differences in the last bit, and whose moments are large
    policy = PolicyModule(
        str(planner), prompt=PROMPT, optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.01, eps=0.01)
    )
    stream = Place(micro_batches(policy, 1, (rank, ranks), blind=False))
    facts = RunFacts({"run_name": name, "model": {"path": str(planner), "prompt": PROMPT}})
    trainer = L.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=strategy(name) if ranks > 1 or name != "ddp" else "auto",
        max_epochs=rounds,
        callbacks=[RunPosition(stream, None), KeepCheckpoints(folder / name / phase, 1, 9, facts=facts)],
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


def be_a_rank(rank: int, port: int, phase: str, folder: Path, planner: Path, names: list[str]) -> None:
    for name in names:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
        os.environ["WORLD_SIZE"] = str(PHASES[phase][0])  # Lightning takes it away after each training
        go(name, folder, planner, phase, rank)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def all_end_well(ranks: list[multiprocessing.Process], deadline: float) -> bool:
    """Nobody waits for one that has failed."""
    for rank in ranks:
        rank.start()
    while time.monotonic() < deadline and None in (codes := [rank.exitcode for rank in ranks]) and not any(codes):
        time.sleep(0.05)
    for rank in ranks:
        rank.kill()
    return codes == [0] * len(ranks)


def main(folder: Path, planner: Path, names: list[str]) -> bool:
    """Whether every rank came to its end."""
    torch.set_num_threads(1)
    in_small_portions()
    if any(name.startswith("zero") for name in names):
        strategy("zero2")  # imports DeepSpeed
    process, deadline = multiprocessing.get_context("fork").Process, time.monotonic() + LIMIT_S
    for phase, (count, *_) in PHASES.items():
        what = free_port(), phase, folder, planner, names
        if not all_end_well([process(target=be_a_rank, args=(rank, *what)) for rank in range(count)], deadline):
            return False
    return True


if __name__ == "__main__":
    sys.exit(not main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
