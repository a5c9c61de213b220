"""Which checkpoints a run's folder holds, and which one is meant. It knows their names and manifests, not what is in them."""

import logging
import re
import shutil
import zipfile
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from tracer1.errors import CheckpointError
from tracer1.training.checkpoints.manifest import damage

log = logging.getLogger(__name__)

_NAME = re.compile(r"round-(\d+)\.ckpt")
PATTERN = "round-*.ckpt*"  # with what a kill has left of one: .tmp was being written, .old was being deleted


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, oldest round first."""
    found = [(int(m[1]), path) for path in folder.glob("round-*.ckpt") if (m := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def delete(path: Path) -> None:
    """Deletes a checkpoint: first its name, so that no half of one is ever taken for a whole."""
    if path.is_dir() and _NAME.fullmatch(path.name):
        doomed = path.with_name(f"{path.name}.old")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        path = doomed
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def find_checkpoint(wanted: str | None, folder: Path, overwrite: bool = False) -> Path | None:
    """What `ckpt_path` means: None starts anew, `last` is the folder's newest, `auto` one of the two, anything else is a path.

    `last` passes over damaged checkpoints, with a warning for each.

    Raises:
        CheckpointError: there is none, or no whole one; or the run would start anew over existing ones.
    """
    existing = checkpoints(folder)
    if wanted == "auto":  # what a job that may be run again says
        wanted = "last" if existing else None
    if wanted is None:
        if existing and not overwrite:
            raise CheckpointError(
                f"{folder} holds a run up to {existing[-1].stem}. Go on with ckpt_path=last, choose another run_name, or start "
                "anew over it with overwrite=true."
            )
        for path in existing:
            delete_once(path)
        return None
    if wanted == "last":
        return _newest_whole(existing, folder)
    path = Path(wanted)
    if not path.exists():
        raise CheckpointError(
            f"There is no checkpoint {wanted}. In the run's folder: {[p.name for p in existing] or 'none'}."
        )
    if (problem := what_is_wrong(path)) is not None:
        raise CheckpointError(f"{path} is not a whole checkpoint: {problem}. Give an earlier one as ckpt_path.")
    return path


def delete_once(path: Path) -> None:
    """Deletes what another rank may be deleting, too."""
    try:
        delete(path)
    except FileNotFoundError:
        log.debug("%s: another rank has deleted it.", path)


def _newest_whole(existing: list[Path], folder: Path) -> Path:
    if not existing:
        raise CheckpointError(f"{folder} holds no checkpoint to go on from. Start the run without ckpt_path.")
    problems = []
    for path in reversed(existing):
        if (problem := what_is_wrong(path)) is None:
            for damaged in problems:
                _warn("%s; going on from %s instead.", damaged, path.name)
            return path
        problems.append(f"The checkpoint {path.name} is damaged: {problem}")
    raise CheckpointError(f"{folder} holds no whole checkpoint. {'. '.join(problems)}. Start anew with overwrite=true.")


_warn = rank_zero_only(log.warning)


def what_is_wrong(path: Path) -> str | None:
    """What is wrong with a checkpoint in a few words; None for a whole one."""
    if path.is_dir():
        return damage(path)
    return None if zipfile.is_zipfile(path) else "the file is cut off, or no checkpoint"


def how_to_go_on(folder: Path) -> str:
    """One line for whoever stopped a run."""
    existing = checkpoints(folder)
    if not existing:
        return "Stopped before the first checkpoint: run the same command to start again."
    return f"Stopped. Go on from {existing[-1].stem} with the same command and ckpt_path=last."
