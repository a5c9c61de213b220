"""Which strategy reads which checkpoint, and how one of several ranks comes to another number of them.

Files of the kinds `file` and `torch` are read by any number of ranks as they are; DeepSpeed's are rewritten once in its universal
format. Where each rank's data goes on is the streams' business (`RunPosition`).
"""

import contextlib
import io
import logging
import shutil
import time
from argparse import Namespace
from pathlib import Path

import lightning as L
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy, Strategy

from tracer1.errors import CheckpointError, DataError
from tracer1.training.checkpoints.disk import cannot_write
from tracer1.training.checkpoints.manifest import Manifest

log = logging.getLogger(__name__)

_WAIT_S = 3600.0  # for the rank that converts
_WHO = {"file": "single or ddp", "deepspeed": "zero1, zero2 or zero3", "torch": "fsdp2"}


def kind_of(strategy: Strategy) -> str:
    """The kind of checkpoint that a strategy writes and reads."""
    if isinstance(strategy, DeepSpeedStrategy):
        return "deepspeed"
    return "torch" if isinstance(strategy, ModelParallelStrategy) else "file"


def check_kind(start: Path, manifest: Manifest, strategy: Strategy) -> None:
    """Raises CheckpointError for a checkpoint that the strategy cannot read."""
    if manifest.kind != kind_of(strategy):
        raise CheckpointError(
            f"{start} was written with strategy={_WHO[manifest.kind]}, and this run has another kind of strategy. Go on with "
            f"that one, or begin a run from its policy: python tools/export_policy.py {start} POLICY, then model.path=POLICY."
        )


def for_ranks(start: Path, manifest: Manifest, trainer: L.Trainer) -> Path:
    """What the trainer's strategy is to load: the checkpoint, or a copy that its number of ranks can read. Every rank calls it.

    Raises:
        DataError: no space left for the copy.
    """
    if manifest.kind != "deepspeed" or manifest.world_size == trainer.world_size:
        return start
    universal = start.with_name(f"{start.name}.universal")  # the next save deletes it
    trainer.strategy.config.setdefault("checkpoint", {})["load_universal"] = True
    if trainer.global_rank == 0:
        if not universal.exists():
            log.warning(
                "%s: from %d to %d ranks, by way of %s.", start.name, manifest.world_size, trainer.world_size, universal
            )
            _convert(start, universal)
        return universal
    waited = time.monotonic()
    while not universal.exists():
        if time.monotonic() - waited > _WAIT_S:
            raise CheckpointError(
                f"{universal} has not appeared for {_WAIT_S:.0f} s. Do all nodes see the same folder?"
            )
        time.sleep(0.5)
    return universal


def _convert(start: Path, universal: Path) -> None:
    from deepspeed.checkpoint.ds_to_universal import main

    temporary = universal.with_name(f"{universal.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    settings = {"num_extract_workers": 1, "num_merge_workers": 1, "keep_temp_folder": False, "strict": True}
    folders = {"input_folder": str(start / "checkpoint"), "output_folder": str(temporary / "checkpoint")}
    try:
        (temporary / "checkpoint").mkdir(parents=True)
        quiet = io.StringIO()  # it tells its steps, and draws bars
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            main(Namespace(**folders, **settings, inject_missing_state=True))
        temporary.rename(universal)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if (reason := cannot_write(error)) is None:
            raise
        raise DataError(
            f"{reason} to rewrite {start} for another number of ranks: it needs as much space again."
        ) from error
