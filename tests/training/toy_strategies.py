"""One of two gloo ranks: `toy_strategies.py FOLDER PLANNER STRATEGY...` does what `test_strategies.py` asserts about.

Writes `FOLDER/<strategy>.<rank>.pt`.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from toy_ranks import GROUP_SIZE, micro_batches
from toy_run import toy_trajectory

from tracer1.engines.transformers import TransformersEngine
from tracer1.interfaces import Sampling
from tracer1.models import head, sharding
from tracer1.models.batch import MicroBatch, ResponseBatch
from tracer1.models.options import LoRA, ModelOptions
from tracer1.models.policy import PolicyModule
from tracer1.training.callbacks import SkipNonFinite
from tracer1.training.strategies import ShardedStrategy, ZeroStrategy, keep_inputs

# DeepSpeed keeps small weights whole: here nothing is small
ALL_SPREAD = {"stage3_param_persistence_threshold": 0}


class Batches:
    """A stream, as Lightning sees one."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class AtStart(L.Callback):
    """Calls `look(policy)` when the training begins and everything is set up."""

    def __init__(self, look: Callable[[PolicyModule], None]) -> None:
        self.look = look

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.look(pl_module)


def in_small_portions() -> None:
    """Many buckets of weights, and a head that is asked another number of times on every rank."""
    sharding.BUCKET_BYTES = 50_000
    head.LOGITS_AT_A_TIME = 384 * 5


def strategy(name: str) -> Any:
    if name == "fsdp2":
        return ShardedStrategy()
    if name.startswith("zero"):
        return ZeroStrategy(int(name[-1]), zero=ALL_SPREAD if name == "zero3" else None)
    return name


def make_policy(planner: Path, lr: float = 0.5, **options: Any) -> PolicyModule:
    torch.manual_seed(0)  # adapters begin with random numbers
    return PolicyModule(
        str(planner),
        prompt={"horizon": 2, "style": "brief"},
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=lr),
        options=ModelOptions(**options),
    )


def fit(
    name: str, ranks: int, policy: PolicyModule, batches: list[MicroBatch], *callbacks: L.Callback, **settings: Any
):
    trainer = L.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=strategy(name) if ranks > 1 or name != "ddp" else "auto",
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )
    keep_inputs(trainer).fit(policy, Batches(batches))


def weights(policy: PolicyModule) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in policy.weights()}


def an_update(name: str, planner: Path, share: tuple[int, int], blind: bool, **options: Any) -> dict[str, Any]:
    """One update of four groups: the norm of its gradient and the weights that it leaves, which are exported, too."""
    policy, guard = make_policy(planner, **options), SkipNonFinite(2)
    batches = micro_batches(policy, 1, share, blind)
    if blind and share[0] + 1 == share[1]:  # all responses of the last group are masked
        nothing = ResponseBatch.collate([()] * GROUP_SIZE, policy.backbone.pad_id)
        none = torch.zeros(GROUP_SIZE, 1)
        batches[-1] = replace(
            batches[-1], responses=nothing, old_logprobs=none, ref_logprobs=none, engine_logprobs=none
        )
    settings = {"accumulate_grad_batches": len(batches), "gradient_clip_val": 0.5}
    if options.get("dtype") == "bfloat16":
        settings["precision"] = "bf16-true"
    fit(name, share[1], policy, batches, guard, **settings)
    return {"norm": guard.grad_norm, "weights": weights(policy), "figures": policy.pop_figures()}


def a_bad_number(name: str, planner: Path, share: tuple[int, int]) -> dict[str, Any]:
    """Three updates; the second one's loss is not a number, on the last rank alone."""
    rank, ranks = share
    policy, guard, seen = make_policy(planner), SkipNonFinite(2), []

    class Keep(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: PolicyModule, *_: Any) -> None:
            seen.append(weights(pl_module))

    batches = micro_batches(policy, 1, (0, 1), False)[:3]
    if rank + 1 == ranks:
        batches[1] = replace(batches[1], advantages=batches[1].advantages * math.nan)
    fit(name, ranks, policy, batches, guard, Keep())
    return {"skipped": guard.skipped, "norm": guard.grad_norm, "seen": seen}


def looks(policy: PolicyModule, rank: int) -> dict[str, Any]:
    """What a round does beside its updates. Every rank looks at other pictures, and samples another number of responses."""
    batch = micro_batches(policy, 2, (0, 1), blind=rank == 1)[0]
    prompts = [policy.encoder.encode(step) for step in toy_trajectory("a", 2, 1)][: rank + 1]
    engine = TransformersEngine()
    with engine.serving(policy):
        responses = engine.generate(prompts, Sampling(max_tokens=6 * (rank + 1)), [[7, 8]] * len(prompts))
    return {"logprobs": batch.old_logprobs, "responses": responses, "weights": weights(policy)}


def over_the_round(name: str, planner: Path, share: tuple[int, int], folder: Path) -> dict[str, Any]:
    rank, ranks = share
    policy, found = make_policy(planner), {}
    batches = micro_batches(policy, 4, (0, 1), blind=False)

    def look(policy: PolicyModule) -> None:
        found.update(looks(policy, rank))
        policy.export(folder / f"{name}-policy")

    fit(name, ranks, policy, batches, AtStart(look))
    return found


def main(folder: Path, planner: Path, names: list[str]) -> None:
    rank, ranks = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    in_small_portions()
    share = rank, ranks
    for name in names:
        found = {
            "seen": an_update(name, planner, share, blind=False),
            "blind": an_update(name, planner, share, blind=True),
            "rounded": an_update(name, planner, share, blind=False, dtype="bfloat16"),
            "bad": a_bad_number(name, planner, share),
            "round": over_the_round(name, planner, share, folder),
        }
        if name in ("zero3", "fsdp2"):
            found["adapters"] = an_update(name, planner, share, blind=False, lora=LoRA(4, 8.0))
        torch.save(found, folder / f"{name}.{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
