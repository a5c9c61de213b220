"""RunLogger: a Lightning logger that writes every figure to `metrics.jsonl` and has MLflow follow it.

It knows nothing about how figures are computed, and it never lets MLflow stop or slow the training: the file is the truth,
a background thread (`delivery.py`) brings it to MLflow, and only the names of metrics are checked strictly.
"""

import logging
import re
import sys
import time
import uuid
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from tracer1.errors import ConfigError
from tracer1.tracking.config_text import flatten, to_plain, without_passwords
from tracer1.tracking.delivery import Delivery, Pace, Store, Wanted
from tracer1.tracking.journal import Journal, RunRecord, move_aside
from tracer1.tracking.metric_names import check_names
from tracer1.tracking.origin import git_tags, version_tags, who_tags
from tracer1.tracking.sweeps import Sweep
from tracer1.tracking.system import SystemSampler

log = logging.getLogger(__name__)

FINALIZE_S = 20.0  # how long the end of a training waits for MLflow
FILES_S = 6 * 3600.0  # how long it waits while files are on their way: hundreds of GB, where checkpoints are sent
CHECKPOINTS = ("none", "best", "last")
SYSTEM_EVERY_S = 10.0
STATUSES = {"success": "FINISHED", "finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class RunLogger(Logger):
    """One run: `metrics.jsonl`, `config.yaml`, `tables/` and `run.json` in `output_dir`, and an MLflow run that follows them.

    The MLflow run is opened at the first figure (or by `start`), so `resume` may be called any time before.

    Args:
        output_dir: The run's folder. A training that starts afresh in a used folder moves the old files aside.
        run_name: What MLflow calls the run; the folder's name by default.
        experiment: MLflow's experiment.
        tracking_uri: `sqlite:///mlflow.db` (a file in the current folder) or the address of a server.
        tags: Further tags of the run.
        system_metrics: Whether to log the machine's load beside the figures.
        checkpoints: Which checkpoint MLflow gets when the training is over: `none`, the `best` validated one, or the `last`.
        register: The registered model of which the exported policy becomes a version; None for none.
        sweep: Whose job this is, as `sweeps.Sweep` has it.
        mlflow: False keeps everything in `output_dir`: MLflow hears nothing.

    Raises:
        ConfigError: `tracking_uri` is a folder: MLflow has deprecated its file store; or `checkpoints` or `register` cannot work.
    """

    def __init__(
        self,
        output_dir: str,
        run_name: str | None = None,
        experiment: str = "tracer1",
        tracking_uri: str = "sqlite:///mlflow.db",
        tags: Mapping[str, str] | None = None,
        system_metrics: bool = True,
        checkpoints: str = "none",
        register: str | None = None,
        sweep: Mapping[str, Any] | None = None,
        mlflow: bool = True,
    ) -> None:
        super().__init__()
        if checkpoints not in CHECKPOINTS:
            raise ConfigError(f"logger.checkpoints is {checkpoints!r}; choose one of {', '.join(CHECKPOINTS)}.")
        if register is not None and not re.fullmatch(r"[\w.\- ]+", str(register)):
            raise ConfigError(
                f"logger.register is {register!r}; a model's name has letters, digits, spaces and . _ - only."
            )
        if not mlflow and (register is not None or checkpoints != "none"):
            raise ConfigError("logger.register and logger.checkpoints are for MLflow: leave them, or logger=none, out.")
        if ("://" not in tracking_uri and tracking_uri != "databricks") or tracking_uri.startswith("file:"):
            raise ConfigError(
                f"tracking_uri={tracking_uri!r} is a folder, a store that MLflow has deprecated. "
                "Use sqlite:///mlflow.db, or the address of a server: http://host:5000."
            )
        self.output_dir = Path(output_dir).absolute()
        self.run_name = run_name or self.output_dir.name
        self.experiment_name, self.tracking_uri = experiment, tracking_uri
        self.checkpoints, self.register, self._sweep, self._mlflow = checkpoints, register, Sweep.of(sweep), mlflow
        self.pace = Pace()
        self.results_follow = False  # whoever sets it logs the results after a successful fit, and finalizes then
        self._wanted = Wanted(tags={key: str(value) for key, value in (tags or {}).items()})
        self._config: dict[str, Any] = {}
        self._resumed: dict[str, Any] | None = None
        self._record = RunRecord()
        self._journal: Journal | None = None
        self._delivery: Delivery | None = None
        self._sampler = SystemSampler(self.output_dir) if system_metrics else None
        self._sampled_at = time.monotonic()

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment_name

    @property
    def version(self) -> str:
        """The run's name; MLflow's id may not be known yet, see `run_id`."""
        return self.run_name

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.output_dir)

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None until MLflow has answered."""
        return self._record.run_id

    def resume(self, run_id: str | None = None, step: int | None = None) -> None:
        """Continues the run of `output_dir`, or MLflow's run `run_id`, instead of starting one.

        Args:
            run_id: What a checkpoint says; None for the run that `run.json` names.
            step: Optimizer updates done in the checkpoint; figures of steps >= `step` in `metrics.jsonl` are superseded.

        Raises:
            ConfigError: figures were logged already.
        """
        if self._journal is not None:
            raise ConfigError(
                "RunLogger.resume was called after the first figure was logged. Call it before the training starts."
            )
        self._resumed = {"run_id": run_id, "step": step}

    @rank_zero_only
    def start(self) -> None:
        """Opens the files and begins to talk to MLflow; the first figure does so otherwise. Safe to call twice."""
        if self._journal is not None:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        self._open_record()
        self._journal = Journal(self.output_dir / "metrics.jsonl")
        if self._resumed is not None and self._resumed["step"] is not None:
            self._journal.append({"time": time.time(), "resumed_at_step": self._resumed["step"]})
        if self._sampler is not None:
            self._sampler.start()
        self._wanted.tags.update({**self._record.origin, **who_tags()})
        self._connect()
        self._send_config()

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Takes the resolved config: `config.yaml` here and among the artifacts, flat parameters in MLflow."""
        plain = to_plain(vars(params) if isinstance(params, Namespace) else params)
        self._config.update(plain)
        if self._journal is not None:
            self._send_config()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes one line to `metrics.jsonl` and returns; MLflow follows in the background.

        Args:
            metrics: Figures by name; `epoch` (Lightning's, from 0) becomes `round` (from 1).
            step: Optimizer step, from 0.

        Raises:
            ConfigError: a name is not in the closed list (`metric_names.METRICS`).
        """
        named = {name: float(value) for name, value in metrics.items()}
        epoch = named.pop("epoch", None)
        round_ = named.pop("round", None if epoch is None else epoch + 1)
        check_names(named)
        if not named:
            return
        self.start()
        place = {} if round_ is None else {"round": int(round_)}
        self._write({"time": time.time(), **place, "step": int(step or 0), **named, **self._system_figures()})

    @rank_zero_only
    def log_artifact(self, path: Path) -> None:
        """Has MLflow keep a copy of a file or folder inside `output_dir`, under the same relative path."""
        self.start()
        self._write({"time": time.time(), "artifact": Path(path).absolute().relative_to(self.output_dir).as_posix()})

    @rank_zero_only
    def log_dataset(self, facts: Mapping[str, Any]) -> None:
        """Says what the run trains or validates on.

        Args:
            facts: `name`, `digest`, `context`, `source`, `profile`, see `datasets.log_dataset`.
        """
        self.start()
        self._write({"time": time.time(), "dataset": dict(facts)})

    @rank_zero_only
    def log_model(self, folder: Path, round: int, figures: Mapping[str, float]) -> None:
        """Has a folder inside `output_dir` become a version of the registered model `register`.

        Args:
            folder: The exported policy.
            round: After which it was exported.
            figures: Of the last validation: tags of the version, without `val/`.
        """
        self.start()
        inside = Path(folder).absolute().relative_to(self.output_dir).as_posix()
        tags = {"run": self.run_name, **{name.removeprefix("val/"): f"{value:.4g}" for name, value in figures.items()}}
        self._write(
            {"time": time.time(), "model": {"name": self.register, "folder": inside, "round": round, "tags": tags}}
        )

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Sets the run's status and waits, at most `FINALIZE_S`, until MLflow has everything; longer while files are on their way.

        Where results follow, a success is not waited for: Lightning says it before they are there.

        Args:
            status: `success`, `failed` or `interrupted`. Logging again afterwards sets the run back to running.
        """
        if self._delivery is None:
            return
        if isinstance(sys.exc_info()[1], KeyboardInterrupt | SystemExit):
            status = "interrupted"  # Lightning says "failed" for Ctrl-C and for a cluster's SIGTERM too
        self._wanted.status = STATUSES.get(status, "FAILED")
        self._delivery.notify()
        if self.results_follow and self._wanted.status == "FINISHED":
            return
        if not self._delivery.flush(FINALIZE_S, FILES_S if self._wanted.status == "FINISHED" else 0.0):
            log.warning(
                "MLflow at %s has not taken %d lines or files of %s. Resume the run to send them.",
                without_passwords(self.tracking_uri), self._delivery.unsent(), self.output_dir,
            )  # fmt: skip

    def _open_record(self) -> None:
        path = self.output_dir / "run.json"
        if self._resumed is None:
            move_aside(self.output_dir)
            self._record = RunRecord()
        else:
            self._record = RunRecord.load(path)
            self._record.run_id = self._resumed["run_id"] or self._record.run_id
        self._record.uid = self._record.uid or uuid.uuid4().hex
        self._record.run_name = self._record.run_name or self.run_name
        if self._mlflow:
            self._record.experiment = self.experiment_name
            self._record.tracking_uri = without_passwords(self.tracking_uri)
        self._record.origin = {**git_tags(Path(__file__).parent), **version_tags()}
        self._record.save(path)

    def _connect(self) -> None:
        if not self._mlflow:
            return
        try:
            from tracer1.tracking import mlflow_store
        except ImportError as error:
            log.warning(
                "MLflow cannot be imported (%s). The training goes on; %s has every figure.", error, self.output_dir
            )
            return

        def open_store() -> Store:
            return mlflow_store.MlflowStore(self.tracking_uri, self._record, self._wanted.tags, self._sweep)

        self._delivery = Delivery(open_store, self.output_dir, self._record, mlflow_store.refused, self.pace)
        self._delivery.wanted = self._wanted
        self._delivery.start()

    def _send_config(self) -> None:
        if self._config:
            path = self.output_dir / "config.yaml"
            path.write_text(yaml.safe_dump(self._config, sort_keys=False, allow_unicode=True), encoding="utf-8")
            self._wanted.params = flatten(self._config)
            self.log_artifact(path)
        if self._delivery is not None:
            self._delivery.notify()

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._journal is not None
        try:
            self._journal.append(line)
        except OSError as error:  # a full disk; the next checkpoint will say so louder
            log.warning(
                "Could not write to %s (%s): the figures of this call are lost. Free some space.",
                self._journal.path,
                error,
            )
            return
        self._wanted.status = "RUNNING"
        if self._delivery is not None:
            self._delivery.notify()

    def _system_figures(self) -> dict[str, float]:
        if self._sampler is None or time.monotonic() - self._sampled_at < SYSTEM_EVERY_S:
            return {}
        self._sampled_at = time.monotonic()
        return self._sampler.collect()
