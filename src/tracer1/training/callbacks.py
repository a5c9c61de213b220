"""What happens around the rounds: logging, validation, and the position that a checkpoint carries."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import lightning as L
from torch.optim import Optimizer

from tracer1.errors import CheckpointError, TrainingDiverged
from tracer1.models.policy import PolicyModule
from tracer1.models.sft import SFTModule
from tracer1.tracking.mlflow_logger import RunLogger
from tracer1.tracking.tables import log_rollouts
from tracer1.training.evaluation import Evaluator
from tracer1.training.ranks import gathered, rank, world_size
from tracer1.training.strategies import ZeroStrategy, gradient_norm

log = logging.getLogger(__name__)


class RoundStream(Protocol):
    """Yields the batches of one round per pass, and can say where it stands."""

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs to go on with the next round."""

    def restore(self, position: Mapping[str, Any]) -> None:
        """Takes what `position` gave."""

    def take_over(self, positions: Sequence[Mapping[str, Any]]) -> None:
        """Takes what `position` gave on each of another number of ranks, in their order: together the new ranks do what was left."""

    def end_round(self) -> dict[str, float]:
        """The round's figures under their metric names."""

    def check(self, figures: Mapping[str, float]) -> None:
        """Looks at all figures of a round that has ended; raises TrainingDiverged when the run must stop."""


class RunPosition(L.Callback):
    """Keeps in the checkpoint where each rank's stream stands, and which MLflow run this is."""

    def __init__(self, stream: RoundStream, logger: RunLogger | None) -> None:
        self.stream, self.logger = stream, logger

    def state_dict(self) -> dict[str, Any]:
        """Every rank has its own place in the data: gathered, because only one rank writes."""
        run_id = self.logger.run_id if self.logger is not None else None
        return {"positions": gathered(self.stream.position()), "run_id": run_id}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from there, on any number of ranks. Raises CheckpointError for the position of another recipe's stream."""
        positions = state_dict["positions"]
        try:
            if len(positions) == world_size():
                self.stream.restore(positions[rank()])
            else:
                log.info("The checkpoint was written by %d ranks; %d go on.", len(positions), world_size())
                self.stream.take_over(positions)
        except KeyError as error:
            raise CheckpointError(
                f"The checkpoint was written by another recipe (it holds no {error}). Start from its policy instead: "
                "model.path=<its folder>/policy without ckpt_path."
            ) from error


class SkipNonFinite(L.Callback):
    """Skips an update whose gradient is not finite, counts it, and aborts after `most` in a row.

    Gradients are already the mean over all ranks, so every rank comes to the same decision. An optimizer leaves parameters
    without a gradient, and their moments, exactly as they were. DeepSpeed does that itself: it is only asked.
    """

    def __init__(self, most: int) -> None:
        self.most, self.skipped, self.in_a_row, self.grad_norm = most, 0, 0, 0.0

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Runs after the backward passes of the update and before clipping."""
        if isinstance(trainer.strategy, ZeroStrategy):
            return
        if not self._noted(gradient_norm(pl_module), trainer.global_step):
            for parameter in pl_module.parameters():
                parameter.grad = None
            self._stop_after_most(trainer.global_step)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *batch: Any) -> None:
        """DeepSpeed's update is over when it was the last micro-batch of one."""
        if not isinstance(trainer.strategy, ZeroStrategy) or (batch[-1] + 1) % trainer.accumulate_grad_batches:
            return
        if not self._noted(trainer.strategy.last_gradient_norm, trainer.global_step - 1):
            self._stop_after_most(trainer.global_step - 1)

    def _noted(self, norm: float, update: int) -> bool:
        """Whether the update takes place."""
        if math.isfinite(norm):
            self.in_a_row, self.grad_norm = 0, norm
            return True
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        log.warning("Update %d skipped: its gradient is not finite.", update)
        return False

    def _stop_after_most(self, update: int) -> None:
        if self.in_a_row >= self.most:
            raise TrainingDiverged(
                f"{self.in_a_row} updates in a row had a gradient that is not finite (update {update}). "
                "The last checkpoint is whole: lower optimizer.lr, or look at the rollouts of the last round."
            )

    def state_dict(self) -> dict[str, Any]:
        """The counters."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]


class RoundLog(L.Callback):
    """Logs the round's figures once, exact over all micro-batches and ranks."""

    def __init__(self, stream: RoundStream, guard: SkipNonFinite) -> None:
        self.stream, self.guard = stream, guard

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: PolicyModule | SFTModule) -> None:
        """A Lightning epoch is a round."""
        figures = {**self.stream.end_round(), **pl_module.pop_figures()}
        figures["optim/lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        figures["optim/grad_norm"] = self.guard.grad_norm
        figures["optim/skipped"] = float(self.guard.skipped)
        done = trainer.current_epoch + 1
        if trainer.logger is not None:
            trainer.logger.log_metrics({**figures, "round": done}, step=trainer.global_step)
        self.stream.check(figures)  # only now: the figure that ends a run is in its log


class Validate(L.Callback):
    """Scores the policy on held-out steps before the first round, after every `every`-th and after the last.

    Args:
        evaluator: Samples and scores.
        every: Rounds between two validations.
        table: Rollouts in the table of generations.
        logger: Where figures and tables go.
    """

    def __init__(self, evaluator: Evaluator, every: int, table: int, logger: RunLogger | None) -> None:
        self.evaluator, self.every, self.table, self.logger = evaluator, every, table, logger
        self._round, self._figures = -1, {}

    def fresh(self, done: int) -> Mapping[str, float]:
        """The figures of the validation after round `done` itself; empty where there was none."""
        return self._figures if done == self._round else {}

    def on_train_start(self, trainer: L.Trainer, pl_module: PolicyModule) -> None:
        """Only a run that starts anew: one that goes on has these figures already."""
        if trainer.current_epoch == 0:
            self._validate(trainer, pl_module, 0)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: PolicyModule) -> None:
        """A Lightning epoch is a round."""
        done = trainer.current_epoch + 1
        if done % self.every == 0 or done == trainer.max_epochs:
            self._validate(trainer, pl_module, done)

    def _validate(self, trainer: L.Trainer, policy: PolicyModule, done: int) -> None:
        figures, rollouts = self.evaluator.run(policy)
        finite = {name: value for name, value in figures.items() if value == value}  # no box, no click accuracy
        self._round, self._figures = done, finite
        if self.logger is not None:
            self.logger.log_metrics({**finite, "round": done}, step=trainer.global_step)
            if trainer.is_global_zero and rollouts:
                log_rollouts(self.logger, rollouts[: self.table], done)
