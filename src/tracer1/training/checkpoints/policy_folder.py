"""Writes the policy that a training ends with as a Hugging Face folder, whole or not at all. It knows no model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError

from tracer1.errors import DataError
from tracer1.training.checkpoints.disk import cannot_write


class Exportable(Protocol):
    """A module that writes its policy."""

    def export(self, folder: Path) -> None:
        """Writes a Hugging Face folder."""


def write_policy(module: Exportable, folder: Path, card: Callable[[], str] | None = None) -> None:
    """Writes the trained policy as a Hugging Face folder, under a temporary name first.

    Args:
        module: Whose policy.
        folder: Where it goes, in place of what was there.
        card: Makes the folder's README.md.

    Raises:
        DataError: no space left.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        module.export(temporary)
        _add_video_settings(temporary)
        if card is not None:
            (temporary / "README.md").write_text(card(), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise DataError(
            f"{cannot_write(error) or error} to write the policy {folder}. Free some space and run the same command with "
            "ckpt_path=last: it only writes the policy."
        ) from error


def _add_video_settings(folder: Path) -> None:
    """vLLM wants a Qwen3-VL's, though no video is ever sent."""
    pictures, video = folder / "preprocessor_config.json", folder / "video_preprocessor_config.json"
    if pictures.is_file() and not video.exists():
        settings = json.loads(pictures.read_text(encoding="utf-8"))
        settings.pop("image_processor_type", None)
        video.write_text(json.dumps({**settings, "video_processor_type": "Qwen3VLVideoProcessor"}), encoding="utf-8")
