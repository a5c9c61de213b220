"""Writes a checkpoint after every few rounds, and keeps the newest and the best. It knows no model; strategies write their own files.

Everything is written into `round-000005.ckpt.tmp/`, the manifest last; then one rank renames the folder, and only then old ones go.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L

from tracer1.errors import ConfigError, DataError
from tracer1.registry import nearest
from tracer1.tracking.origin import own_version
from tracer1.training.checkpoints.disk import cannot_write, flush
from tracer1.training.checkpoints.elastic import kind_of
from tracer1.training.checkpoints.folders import PATTERN, checkpoints, delete
from tracer1.training.checkpoints.manifest import Files, Manifest, about_config, entries, files_of
from tracer1.training.ranks import agreed, gathered, rank, world_size

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Best:
    """Which checkpoints are kept beside the newest ones."""

    count: int = 0
    metric: str = ""  # of a validation, e.g. val/heldout/reward
    mode: str = "max"  # or min

    def score(self, figures: Mapping[str, float]) -> float:
        """Higher is better; -inf for a round without a validation of its own."""
        value = figures.get(self.metric, math.nan)
        return -math.inf if math.isnan(value) else value if self.mode == "max" else -value

    def of(self, paths: list[Path]) -> list[Path]:
        """The best ones, the best first; of two that are equal the earlier."""
        scored = [(self.score(_manifest(path).validation), path) for path in paths if path.is_dir()]
        found = sorted((pair for pair in scored if pair[0] > -math.inf), key=lambda pair: -pair[0])
        return [path for _, path in found[: self.count]]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a manifest says about the run that wrote it."""

    config: Mapping[str, Any] = field(default_factory=dict)
    run_id: Callable[[], str | None] = lambda: None  # MLflow's name of the run, once it is known


def best_checkpoint(folder: Path) -> Path | None:
    """A run's best checkpoint, by the figure that the run kept its best ones by; None where it kept none."""
    existing = [path for path in checkpoints(folder) if path.is_dir()]
    by = _best_by(existing)
    found = Best(1, by["metric"], by["mode"]).of(existing) if by else []
    return found[0] if found else None


def best_row(folder: Path) -> dict[str, str]:
    """A line for a run's summary, by its label; none where the run kept no best checkpoint."""
    best = best_checkpoint(folder)
    if best is None:
        return {}
    metric = _best_by([path for path in checkpoints(folder) if path.is_dir()])["metric"]
    return {"best checkpoint": f"{best.name}: {metric} {_manifest(best).validation[metric]:.3f}"}


def _best_by(existing: list[Path]) -> Mapping[str, str] | None:
    return next((manifest.best_by for path in reversed(existing) if (manifest := _manifest(path)).best_by), None)


_UNKNOWN = Manifest(round=-1, global_step=0, kind="file", architecture=None)


def _manifest(path: Path) -> Manifest:
    """A damaged checkpoint is as good as one without figures."""
    try:
        return Manifest.read(path)
    except DataError:
        return _UNKNOWN


class KeepCheckpoints(L.Callback):
    """Saves after every `every`-th round, the last one, and those that are among the best; keeps the newest `keep` and the best.

    Args:
        folder: Where they go.
        every: Rounds between two.
        keep: How many of the newest stay.
        best: Which others stay.
        validation: round -> the figures of a validation at that very round; empty where there was none.
        facts: About the run, for the manifest.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        keep: int,
        *,
        best: Best | None = None,
        validation: Callable[[int], Mapping[str, float]] = lambda done: {},
        facts: RunFacts | None = None,
    ) -> None:
        self.folder, self.every, self.keep, self.best = folder, every, keep, best or Best()
        self.validation, self.facts = validation, facts or RunFacts()
        self.about = about_config(self.facts.config)
        self._saved: int | None = None  # the round that this process saved last

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises ConfigError when the validation before the first round lacks the figure that the best are kept by."""
        figures = self.validation(0)
        if self.best.count and figures and self.best.metric not in figures:
            raise ConfigError(
                f"checkpoint.best_by={self.best.metric} is no figure of the validation."
                f"{nearest(self.best.metric, list(figures))} There are: {', '.join(sorted(figures))}."
            )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A Lightning epoch is a round."""
        done = trainer.current_epoch + 1
        due = done % self.every == 0 or done == trainer.max_epochs
        if due or (self.best.count and gathered(self._among_the_best(done))[0]):
            self.save(trainer, done)

    def _among_the_best(self, done: int) -> bool:
        score = self.best.score(self.validation(done))
        others = self.best.of([path for path in checkpoints(self.folder) if path < self._path(done)])
        lowest = self.best.score(_manifest(others[-1]).validation) if len(others) == self.best.count else -math.inf
        return score > lowest

    def save(self, trainer: L.Trainer, done: int) -> None:
        """Writes the new one on all ranks; then one rank deletes old ones, and what a kill left half-written.

        Later rounds than this one belong to a course that the run has left by going on from an earlier checkpoint.

        Raises:
            DataError: no space left; earlier checkpoints are untouched.
        """
        if done == self._saved:
            return
        target = self._path(done)
        temporary = target.with_name(f"{target.name}.tmp")
        try:
            agreed(self._explaining, target, self._clear, trainer.is_global_zero)
            self._explaining(target, trainer.save_checkpoint, temporary, False)
            files: Files = {}
            for found in gathered(agreed(self._explaining, target, self._on_disk, temporary)):
                files |= found
            agreed(self._explaining, target, self._commit, trainer, done, files)
        except DataError:
            if trainer.is_global_zero:
                delete(temporary)
            raise
        self._saved = done
        if trainer.is_global_zero:
            self._delete_old(target)
        gathered(None)  # nobody goes on, and perhaps is killed, before the checkpoint has its name

    def _clear(self, first: bool) -> None:
        """What a kill has left of an earlier attempt."""
        if first:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in {*self.folder.glob(PATTERN)} - {*checkpoints(self.folder)}:
                delete(left)

    @staticmethod
    def _on_disk(folder: Path) -> Files:
        """This rank's share of the files, flushed and hashed."""
        return entries(folder, files_of(folder)[rank() :: world_size()])

    def _commit(self, trainer: L.Trainer, done: int, files: Files) -> None:
        if not trainer.is_global_zero:
            return
        target, temporary = self._path(done), self._path(done).with_name(f"{self._path(done).name}.tmp")
        self._manifest_of(trainer, done, files).write(temporary)
        if target.exists():  # of a course that the run has left
            delete(target)
        temporary.rename(target)
        flush(self.folder)

    def _manifest_of(self, trainer: L.Trainer, done: int, files: Files) -> Manifest:
        best = asdict(self.best)
        return Manifest(
            round=done,
            global_step=trainer.global_step,
            kind=kind_of(trainer.strategy),
            architecture=trainer.lightning_module.backbone.architecture,
            world_size=trainer.world_size,
            strategy=type(trainer.strategy).__name__,
            run_id=self.facts.run_id(),
            version=own_version(),
            validation=dict(self.validation(done)),
            best_by={"metric": best["metric"], "mode": best["mode"]} if self.best.count else None,
            files=dict(sorted(files.items())),
            **self.about,
        )

    @staticmethod
    def _explaining(target: Path, run: Callable[..., Any], *args: Any) -> Any:
        """`run(*args)`, the disk's errors in words of ours."""
        try:
            return run(*args)
        except (OSError, RuntimeError) as error:
            if (reason := cannot_write(error)) is None:
                raise
            raise DataError(
                f"{reason} to write the checkpoint {target}. Free some space and go on with ckpt_path=last: earlier "
                "checkpoints are whole."
            ) from error

    def _delete_old(self, newest: Path) -> None:
        course = [path for path in checkpoints(self.folder) if path <= newest]
        stay = {*course[-self.keep :], *(self.best.of(course) if self.best.count else ())}
        for path in {*self.folder.glob(PATTERN)} - stay:
            try:
                delete(path)
            except OSError as error:  # it costs space, no more
                log.warning("The old checkpoint %s cannot be deleted (%s).", path, error)

    def _path(self, done: int) -> Path:
        return self.folder / f"round-{done:06d}.ckpt"
