"""One job of a study: its stages, its evaluations, and its figures in MLflow. What is finished is not done again.

It knows which commands there are and in which order; how they train and score, it does not.
"""

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tracer1.errors import ConfigError
from tracer1.training.commands import Held, call, leaving_when_asked
from tracer1.training.study.plan import Piece, Study

log = logging.getLogger(__name__)

# What a study's command line may say beside its own settings: everything else would reach no training
_ITS_OWN = ("study", "seed", "paths", "logger", "hydra", "experiment", "recipe", "run_name", "plugins")


@leaving_when_asked()
def run_job(config: Mapping[str, Any], said: Sequence[str]) -> dict[str, float]:
    """Trains, scores and logs one job.

    Args:
        config: Plain values; read are `study`, `seed`, `paths.outputs` and of the logger where MLflow is.
        said: The overrides of this job.

    Returns:
        The figures of its evaluations.

    Raises:
        ConfigError: a mistake in the study, before anything is trained.
        CommandFailed: a training or an evaluation has failed.
        KeyboardInterrupt: Ctrl-C, with a line that says how to go on.
        SystemExit: stopped otherwise, with `REQUEUE`.
    """
    check_said(said)
    study, seed = Study.of(config["study"]), config["seed"]
    outputs = Path(config["paths"]["outputs"]).absolute() / "studies"
    stages = study.stages(seed, outputs)
    evaluations = study.scored(stages, seed, outputs)
    logger = config["logger"]
    if not logger["mlflow"]:
        raise ConfigError("A study keeps its figures in MLflow: leave logger=none out.")
    place = [f"logger.{name}={logger[name]}" for name in ("tracking_uri", "experiment")]
    try:
        for piece in stages:
            run_piece(piece, place)
        for piece in evaluations:
            run_piece(piece, [f"report={piece.report}"])
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped. Run the same command again: it goes on where it was.") from None
    figures = {name: value for piece in evaluations for name, value in read_figures(piece.report).items()}
    for metric in study.metrics:
        if metric not in figures:
            raise ConfigError(
                f"study.metrics names {metric!r}, which no evaluation gave. There are: {', '.join(sorted(figures))}."
            )
    from tracer1.tracking.studies import Job, StudyStore  # only now: it loads MLflow

    store = StudyStore(logger["tracking_uri"], logger["experiment"])
    parent = store.parent(study.name, study.variable, _about(study))
    notes = {
        "stages": " ".join(piece.folder.name for piece in stages),
        "policy": str(stages[-1].policy if stages else study.start),
    }
    store.log(parent, Job(study.name, study.value, seed, figures), {"variable": study.variable, **notes})
    log.info("%s, %s=%s, seed %d: %s", study.name, study.variable, study.value, seed, _line(study, figures))
    return figures


def check_said(said: Sequence[str]) -> None:
    """Raises ConfigError for an override that no training of the study would see."""
    for text in said:
        key = text.lstrip("+~").partition("=")[0]
        if key.partition(".")[0] not in _ITS_OWN:
            raise ConfigError(
                f"{text} would reach none of the study's trainings: they have settings of their own. Change those of one stage, "
                "e.g. \"study.chain.stage1=['+experiment=demo_stage1','rounds=5']\"; --cfg job shows them."
            )


def run_piece(piece: Piece, place: Sequence[str]) -> None:
    """Runs a stage or an evaluation, or waits for another study that is at it, or does nothing where it is finished.

    Args:
        piece: Which one.
        place: Further overrides: where its results go.
    """
    if piece.finished:
        return
    with _alone(piece.folder) as lock:
        if piece.finished:  # another study's process was at it
            return
        where = [f"paths.outputs={piece.folder.parent}", f"run_name={piece.folder.name}", *place]
        if piece.script == "train.py" and any(piece.folder.glob("round-*.ckpt")):
            where.append("ckpt_path=last")
        call(piece.script, [*piece.overrides, *where], lock)


@contextmanager
def _alone(folder: Path) -> Iterator[Held]:
    """Studies side by side share stages: one trains it, the others wait. When a study is killed, its command holds the lock to its end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another study is at %s: waiting for it", folder.name)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield Held(lock.fileno())


def read_figures(report: Path) -> dict[str, float]:
    """The `val/…` figures of an evaluation's or a benchmark's report; those of which nothing counted are left out."""
    read = json.loads(report.read_text(encoding="utf-8"))
    figures = {name: value for name, value in read.items() if name.startswith("val/")}
    figures |= {name: figure["value"] for name, figure in read.get("figures", {}).items()}
    return {name: float(value) for name, value in figures.items() if value is not None and value == value}


def _about(study: Study) -> dict[str, str]:
    return {
        "metrics": " ".join(study.metrics),
        "expect": "\n".join(study.expect),
        "claim": study.claim,
        "labels": json.dumps(study.labels, ensure_ascii=False),
    }


def _line(study: Study, figures: Mapping[str, float]) -> str:
    return ", ".join(f"{metric.removeprefix('val/')} {figures[metric]:.3f}" for metric in study.metrics)


class Afterwards(Callback):
    """Hydra's callback: says where a study's figures are when its sweep is over."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """The command for the table and the plot."""
        study, uri = config.study.name, config.logger.tracking_uri
        log.info("Table and plot:  python tools/plot_ablation.py --study %s --tracking-uri %s", study, uri)
