"""What a training leaves in MLflow beside its figures: the data it saw, the policy it exported, a checkpoint, what a profiler wrote.

Everything goes through the run's journal, and so to MLflow when that can be reached. It knows nothing of how a training works.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from tracer1.data.datamodule import StepDataModule
from tracer1.data.set_facts import facts_of_sets
from tracer1.tracking.journal import read_metrics
from tracer1.tracking.mlflow_logger import RunLogger
from tracer1.training.checkpoints import best_checkpoint, checkpoints
from tracer1.training.checkpoints.manifest import MANIFEST

log = logging.getLogger(__name__)

PROFILES = ("profile_round*", "*profile.txt")  # RoundProfiler's, Lightning's


@rank_zero_only
def record_data(logger: RunLogger, steps: StepDataModule) -> None:
    """Logs each data set with its digest, and its manifest as a file `data/<context>-<name>.json`. Never stops a training."""
    try:
        sets = facts_of_sets(steps.sets, steps.val_fraction)
    except Exception as error:  # stores raise whatever their libraries do; whoever reads the shards says it louder
        log.warning("The run's data sets are not recorded: %s", error)
        return
    for facts in sets:
        content: Mapping[str, Any] = facts.as_json()
        path = logger.output_dir / "data" / f"{facts.context}-{facts.name}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        except OSError as error:
            log.warning("%s could not be written (%s).", path, error)
        else:
            logger.log_artifact(path)
        logger.log_dataset({key: content[key] for key in ("name", "context", "digest", "source", "profile")})


@rank_zero_only
def record_results(logger: RunLogger) -> None:
    """After the policy was written: what a profiler left, manifests of checkpoints, the checkpoint that was asked for, the policy."""
    folder = logger.output_dir
    for path in sorted({path for pattern in PROFILES for path in folder.glob(pattern)}):
        logger.log_artifact(path)
    existing = checkpoints(folder)
    for path in dict.fromkeys(filter(None, [*existing[-1:], best_checkpoint(folder)])):
        if (path / MANIFEST).is_file():
            logger.log_artifact(path / MANIFEST)
    if logger.checkpoints != "none" and existing:
        logger.log_artifact(checkpoint_to_send(folder, logger.checkpoints))
    if logger.register is not None:
        round_, figures = last_validation(folder / "metrics.jsonl")
        names = {name.split("/")[1] for name in figures}
        if len(names) == 1:  # MLflow's table of versions shows the first letters of a tag
            figures = {name.removeprefix(f"val/{next(iter(names))}/"): value for name, value in figures.items()}
        logger.log_model(folder / "policy", round_, figures)
    logger.results_follow = False
    logger.finalize("success")


def checkpoint_to_send(folder: Path, which: str) -> Path:
    """The `last` checkpoint of a run's folder, or the `best` one of those that it kept."""
    best = best_checkpoint(folder) if which == "best" else None
    if which == "best" and best is None:
        log.warning("No checkpoint was kept for its validation: MLflow gets the last one. Set checkpoint.keep_best=1.")
    return best or checkpoints(folder)[-1]


def last_validation(metrics: Path) -> tuple[int, dict[str, float]]:
    """The last round that has figures, and the last validation's."""
    lines = read_metrics(metrics)
    round_ = max((int(line["round"]) for line in lines if "round" in line), default=0)
    validated = [line for line in lines if any(name.startswith("val/") for name in line)]
    figures = {name: value for name, value in validated[-1].items() if name.startswith("val/")} if validated else {}
    return round_, figures
