"""Lightning's checkpoint as one file in a checkpoint's folder: what every strategy writes that does not spread weights over ranks."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from tracer1.training.checkpoints.manifest import STATE, read_state


class FolderCheckpointIO(TorchCheckpointIO):
    """Writes `state.ckpt` into a folder; reads it, or a file of an earlier version."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Plainly: `KeepCheckpoints` gives the folder its name when everything in it is on the disk."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / STATE).open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """On the CPU.

        Raises:
            CheckpointError: the file is not a whole checkpoint.
        """
        return read_state(Path(path) if Path(path).is_file() else Path(path) / STATE, mapped=False)
