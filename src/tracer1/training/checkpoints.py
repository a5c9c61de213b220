"""Checkpoints: written to a temporary name and renamed, the old ones deleted after the new one is whole. They know no model."""

import errno
import logging
import os
import pickle
import re
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from tracer1.errors import CheckpointError, DataError

log = logging.getLogger(__name__)

_NAME = re.compile(r"round-(\d+)\.ckpt")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint file, never half-written under its final name."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes `path` + `.tmp`, flushes it to the disk, renames it.

        Raises:
            DataError: no space left; the temporary file is removed and earlier checkpoints are untouched.
        """
        target = Path(path)
        temporary = target.with_name(target.name + ".tmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            if not _is_full(error):
                raise
            raise DataError(
                f"No space left to write the checkpoint {target}. Free some space and go on with ckpt_path=last: "
                "earlier checkpoints are whole."
            ) from error
        temporary.replace(target)


def _is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that the disk is full (torch wraps it)."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a run's folder, oldest round first."""
    found = [(int(m[1]), path) for path in folder.glob("round-*.ckpt") if (m := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def find_checkpoint(wanted: str | None, folder: Path, overwrite: bool = False) -> Path | None:
    """What `ckpt_path` means: None starts anew, `last` is the folder's newest, anything else is a path.

    Raises:
        CheckpointError: there is none; or the run would start anew over existing ones.
    """
    existing = checkpoints(folder)
    if wanted is None:
        if existing and not overwrite:
            raise CheckpointError(
                f"{folder} holds a run up to {existing[-1].stem}. Go on with ckpt_path=last, choose another run_name, or start "
                "anew over it with overwrite=true."
            )
        for path in existing:
            path.unlink()
        return None
    if wanted == "last":
        if not existing:
            raise CheckpointError(f"{folder} holds no checkpoint to go on from. Start the run without ckpt_path.")
        return existing[-1]
    if not Path(wanted).is_file():
        raise CheckpointError(
            f"There is no checkpoint {wanted}. In the run's folder: {[p.name for p in existing] or 'none'}."
        )
    return Path(wanted)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, its tensors mapped from the file.

    Raises:
        CheckpointError: the file is not a whole checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is not a whole checkpoint ({str(error).splitlines()[0]}). Give an earlier one as ckpt_path."
        ) from error


class KeepCheckpoints(L.Callback):
    """Saves after every `every`-th round and the last one, and keeps the newest `keep`.

    Args:
        folder: Where they go.
        every: Rounds between two.
        keep: How many stay.
    """

    def __init__(self, folder: Path, every: int, keep: int) -> None:
        self.folder, self.every, self.keep = folder, every, keep

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A Lightning epoch is a round."""
        done = trainer.current_epoch + 1
        if done % self.every == 0 or done == trainer.max_epochs:
            self.save(trainer, done)

    def save(self, trainer: L.Trainer, done: int) -> None:
        """Writes the new one on all ranks, then deletes the old ones on one."""
        trainer.save_checkpoint(self.folder / f"round-{done:06d}.ckpt")
        if trainer.is_global_zero:
            for path in checkpoints(self.folder)[: -self.keep]:
                path.unlink()
