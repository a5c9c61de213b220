"""Checkpoints in small: a trainer that saves as Lightning does, and a disk that is full."""

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from tracer1.training.checkpoints import Best, FolderCheckpointIO, KeepCheckpoints, RunFacts


def saved(number: float, size: int = 100) -> dict[str, object]:
    """What Lightning would hand over."""
    return {"state_dict": {"w": torch.full((size,), number)}, "callbacks": {}, "global_step": 3}


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `free` bytes: a real error from the kernel, where a full disk gives another number."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class FakeTrainer:
    """Saves as Lightning does."""

    is_global_zero, max_epochs, current_epoch, global_step, world_size = True, 7, 0, 3, 1
    strategy, size = None, 100
    lightning_module = SimpleNamespace(backbone=SimpleNamespace(architecture="a line"))

    def save_checkpoint(self, path: Path, weights_only: bool) -> None:
        FolderCheckpointIO().save_checkpoint(saved(self.current_epoch + 1, self.size), path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def keep_rounds(keeper: KeepCheckpoints, first: int, last: int, size: int = 100) -> None:
    """Rounds `first` to `last`, each of which ends."""
    trainer = FakeTrainer()
    trainer.size = size
    for trainer.current_epoch in range(first - 1, last):
        keeper.on_train_epoch_end(trainer, None)


def keeper(
    folder: Path,
    every: int = 1,
    keep: int = 2,
    figures: Mapping[int, dict[str, float]] | None = None,
    best: Best | None = None,
    **facts: Any,
) -> KeepCheckpoints:
    """`figures`: round -> what its validation gives; `facts`: of the run."""
    validation = (figures or {}).get
    return KeepCheckpoints(
        folder, every, keep, best=best, validation=lambda done: validation(done, {}), facts=RunFacts(**facts)
    )


def state(checkpoint: Path) -> float:
    """The round that a checkpoint's state is of."""
    return float(FolderCheckpointIO().load_checkpoint(checkpoint)["state_dict"]["w"][0])
