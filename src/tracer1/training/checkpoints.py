"""Checkpoints: written to a temporary name and renamed, the old ones deleted after the new one is whole. They know no model."""

import errno
import logging
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from safetensors import SafetensorError

from tracer1.errors import CheckpointError, DataError

log = logging.getLogger(__name__)

_NAME = re.compile(r"round-(\d+)\.ckpt")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Exportable(Protocol):
    """A module that writes its policy."""

    def export(self, folder: Path) -> None:
        """Writes a Hugging Face folder."""


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
            temporary.replace(target)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            reason = cannot_write(error)
            if reason is None:
                raise
            raise DataError(
                f"{reason} to write the checkpoint {target}. Free some space and go on with ckpt_path=last: earlier "
                "checkpoints are whole."
            ) from error


def cannot_write(error: BaseException | None) -> str | None:
    """Why a file could not be written, if it is the disk's fault; None for any other error.

    torch wraps the disk's error into one of its own, safetensors gives only its text.
    """
    while error is not None:
        if (isinstance(error, OSError) and error.errno in _NO_ROOM) or "StorageFull" in str(error):
            return "No space left"
        if isinstance(error, OSError) and error.errno is not None:
            return f"The disk gave an error ({error.strerror})"
        error = error.__cause__ or error.__context__
    return None


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


def how_to_go_on(folder: Path) -> str:
    """One line for whoever stopped a run."""
    existing = checkpoints(folder)
    if not existing:
        return "Stopped before the first checkpoint: run the same command to start again."
    return f"Stopped. Go on from {existing[-1].stem} with the same command and ckpt_path=last."


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, its tensors mapped from the file.

    Raises:
        CheckpointError: the file is not a whole checkpoint.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path} is not a whole checkpoint ({reason}). Give an earlier one as ckpt_path."
        ) from error
    if not (isinstance(saved, dict) and {"state_dict", "callbacks", "global_step"} <= saved.keys()):
        raise CheckpointError(f"{path} is not a checkpoint of a training. Give one that `round-*.ckpt` names.")
    return saved


def write_policy(module: Exportable, folder: Path) -> None:
    """Writes the trained policy as a Hugging Face folder, under a temporary name first.

    Raises:
        DataError: no space left.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        module.export(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise DataError(
            f"{cannot_write(error) or error} to write the policy {folder}. Free some space and run the same command with "
            "ckpt_path=last: it only writes the policy."
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
        """Writes the new one on all ranks, then deletes the old ones on one, and what a kill left half-written.

        Later rounds than this one belong to a course that the run has left by going on from an earlier checkpoint.
        """
        newest = self.folder / f"round-{done:06d}.ckpt"
        trainer.save_checkpoint(newest, weights_only=False)
        if trainer.is_global_zero:
            course = [path for path in checkpoints(self.folder) if path <= newest]
            for path in {*self.folder.glob("round-*.ckpt*")} - {*course[-self.keep :]}:
                path.unlink()
