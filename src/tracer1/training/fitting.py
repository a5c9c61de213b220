"""One training from its start, or from a checkpoint, to the exported policy, in one MLflow run. It knows no recipe."""

from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L

from tracer1.data.datamodule import StepDataModule
from tracer1.models.sharding import is_spread
from tracer1.training.callbacks import RoundStream
from tracer1.training.checkpoints import check_kind, describe, for_ranks, how_to_go_on, run_card, write_policy
from tracer1.training.lost_ranks import leave_if_lost
from tracer1.training.ranks import end_others
from tracer1.training.run_record import record_data, record_results

if TYPE_CHECKING:
    from tracer1.training.recipes import Run

# not what the run is made of: going on changes nothing
_HOW_IT_STARTS = ("ckpt_path", "overwrite", "dry_run", "assume")


def fit_and_export(
    run: "Run",
    trainer: L.Trainer,
    module: L.LightningModule,
    stream: RoundStream,
    start: Path | None,
    steps: StepDataModule | None = None,
) -> None:
    """Trains from the checkpoint `start`, or from the beginning, into one MLflow run, and writes the policy.

    `steps` are recorded as what the run trains on; a run that learns from episodes has none.

    Raises:
        CheckpointError: the checkpoint belongs to another model or another kind of strategy.
        KeyboardInterrupt: Ctrl-C, with a line that says how to go on.
        SystemExit: another process of the training is gone; a line has said so.
    """
    load = None
    if start is not None:  # before anything is logged
        saved = describe(start)
        module.backbone.check_architecture(saved.architecture)
        check_kind(start, saved, trainer.strategy)
        load = for_ranks(start, saved, trainer)
    if run.logger is not None:
        if start is not None:
            run.logger.resume(saved.run_id, step=saved.global_step + 1)  # its own figures were logged before it
        run.logger.log_hyperparams({name: value for name, value in run.config.items() if name not in _HOW_IT_STARTS})
        run.logger.start()
        if steps is not None:
            record_data(run.logger, steps)
        run.logger.results_follow = True
    try:
        trainer.fit(module, train_dataloaders=stream, ckpt_path=load and str(load), weights_only=False)
    except BaseException as error:
        end_others(trainer)
        leave_if_lost(trainer, error, run.output_dir)
        # Lightning's answer to Ctrl-C
        if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt(how_to_go_on(run.output_dir)) from None
        raise
    try:
        _write_results(trainer, module, run)
    except BaseException:
        if run.logger is not None:
            run.logger.finalize("failed")
        raise


def _write_results(trainer: L.Trainer, module: L.LightningModule, run: "Run") -> None:
    policy = run.output_dir / "policy"
    if trainer.is_global_zero:
        write_policy(module, policy, lambda: run_card(run.output_dir, run.config))
        if run.logger is not None:
            record_results(run.logger)
    elif is_spread(module.model):
        module.export(policy)  # only its parts, for the rank that writes
