"""One of two gloo ranks: `toy_ranks.py FOLDER PLANNER` does what `test_ranks.py` asserts about, and writes `FOLDER/rank<r>.pt`."""

import math
import os
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from toy_loop import make_stream
from toy_run import toy_trajectory

from tracer1.algorithms.objective import Objective
from tracer1.errors import DataError
from tracer1.models.batch import MicroBatch, PromptBatch, ResponseBatch
from tracer1.models.policy import PolicyModule
from tracer1.training.callbacks import RunPosition, SkipNonFinite
from tracer1.training.ranks import agreed, gathered, summed
from tracer1.training.round_rules import RoundRules
from tracer1.training.round_size import RoundSize

GROUPS, GROUP_SIZE = 4, 3


def make_policy(planner: Path) -> PolicyModule:
    prompt = {"horizon": 2, "style": "brief"}
    return PolicyModule(str(planner), prompt=prompt, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))


def micro_batches(policy: PolicyModule, per_batch: int, share: tuple[int, int], blind: bool) -> list[MicroBatch]:
    """This rank's micro-batches of one update of four groups, with responses of very unequal length.

    `blind`: every other group has no screenshot, so that of two ranks with single groups one never sees a picture.
    """
    rank, ranks = share
    chance, pad = random.Random(5), policy.backbone.pad_id
    steps = [step for name in ("a", "b") for step in toy_trajectory(name, 2, ord(name))]
    steps = [replace(step, screenshot=None) if blind and i % 2 else step for i, step in enumerate(steps)]
    responses = [
        [chance.randrange(20, 300) for _ in range(chance.choice((1, 4, 17)))] for _ in range(GROUPS * GROUP_SIZE)
    ]
    advantages = [chance.gauss(0, 1) for _ in responses]
    noise = [[chance.gauss(0, 0.3) for _ in range(17)] for _ in responses]
    batches = []
    for start in range(0, GROUPS, per_batch):
        groups, rows = slice(start, start + per_batch), slice(start * GROUP_SIZE, (start + per_batch) * GROUP_SIZE)
        prompts = PromptBatch.collate(
            [policy.encoder.encode(s) for s in steps[groups]], pad, policy.backbone.rope_index
        )
        batch = ResponseBatch.collate(responses[rows], pad)
        now = policy.logprobs(prompts, batch)
        moved = now + torch.tensor(noise[rows])[:, : now.shape[1]]
        total, parts = sum(map(len, responses)), GROUPS // per_batch
        batches.append(MicroBatch(prompts, batch, torch.tensor(advantages[rows]), moved, now, now, total, parts))
    return batches[rank::ranks]


class KeepGradients(L.Callback):
    """The gradients of the last update, as the optimizer sees them."""

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: object) -> None:
        self.gradients = {name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None}


def fit(
    module: L.LightningModule, batches: list[Any], callbacks: list[L.Callback], ranks: int = 1, **settings: Any
) -> None:
    trainer = L.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        max_epochs=1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))


def update_gradients(
    planner: Path, per_batch: int, share: tuple[int, int] = (0, 1), blind: bool = False
) -> dict[str, Tensor]:
    """What one update's gradients are when its four groups come in micro-batches of `per_batch` on so many ranks."""
    policy, keeper = make_policy(planner), KeepGradients()
    batches = micro_batches(policy, per_batch, share, blind)
    fit(policy, batches, [keeper], share[1], accumulate_grad_batches=len(batches))
    return keeper.gradients


class Line(L.LightningModule):
    """y = w x under AdamW; keeps its weights after each update."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(3))
        self.seen: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.w * batch).square().sum()

    def on_train_batch_end(self, *_: object) -> None:
        self.seen.append(self.w.detach().clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.1)


class Place:
    """A stream that stands where its rank says."""

    def __init__(self, rank: int) -> None:
        self.place = rank

    def position(self) -> dict[str, int]:
        return {"place": self.place}

    def restore(self, position: dict[str, int]) -> None:
        self.place = position["place"]


def draw(rank: int) -> str:
    if rank == 1:
        raise DataError("the shard of rank 1 is cut off")
    return "steps"


def over_the_round(rank: int, planner: Path) -> dict[str, Any]:
    """Advantages that compare with the other rank's rewards, and prompts redrawn while the other rank lacks none."""
    size = RoundSize(prompts_per_round=4, prompts_per_update=4, group_size=3, groups_per_micro_batch=1, world_size=2)
    policy = make_policy(planner)
    settings = {"old_logprobs": "engine", "kl_coef": 0.0, "advantages": "centred_round_z_score"}
    stream = make_stream(
        policy,
        None,
        size=size,
        objective=Objective(**settings),
        rules=RoundRules(max_draws=3),
        reward=lambda rollout: (0.5 if rank == 1 else float(rollout.response.token_ids[0]), {}),
    )
    batches = list(stream)
    policy.objective = Objective(**{**settings, "advantages": "round_z_score"})
    own = torch.tensor([[1.0, 0.0, 0.5], [0.0, 0.0, 0.75]], dtype=torch.float64)[rank]
    return {
        "draws": [len(asked[0]) for asked in stream.engine.asked],
        "figures": stream.figures,
        "denominators": [batch.denominator for batch in batches],
        "advantages": stream.preparation.advantages(own),
    }


def main(folder: Path, planner: Path) -> None:
    rank = int(os.environ["LOCAL_RANK"])
    torch.set_num_threads(1)
    line, guard = Line(), SkipNonFinite(3)
    values = [1.0, 2.0 + rank, math.nan if rank == 1 else 2.0, 0.5]  # only rank 1 has the bad one
    fit(line, [torch.full((3,), value) for value in values], [guard], ranks=2)
    found: dict[str, Any] = {"seen": line.seen, "skipped": guard.skipped}
    found["gradients"] = {per_batch: update_gradients(planner, per_batch, (rank, 2)) for per_batch in (1, 2)}
    found["blind"] = update_gradients(planner, 1, (rank, 2), blind=True)
    stream = Place(10 + rank)
    found["positions"] = RunPosition(stream, None).state_dict()
    stream.place = 0
    RunPosition(stream, None).load_state_dict(found["positions"])
    found["restored"] = stream.place
    found["summed"] = summed([1.0, rank], torch.device("cpu"))
    found["gathered"] = gathered({"rank": rank})
    try:
        agreed(draw, rank)
    except DataError as error:
        found["error"] = str(error)
    found["agreed"] = agreed(lambda: rank)
    found |= over_the_round(rank, planner)
    torch.save(found, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
