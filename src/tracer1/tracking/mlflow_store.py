"""One MLflow run behind a few calls. It knows nothing about threads, retries or `metrics.jsonl`; every call may raise.

Safe to repeat: a figure sent twice with the same time, step and value is one figure, and a run whose creation was never
acknowledged is found again by its tag.
"""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tracer1.errors import ConfigError
from tracer1.tracking.datasets import log_dataset
from tracer1.tracking.journal import RunRecord, figures
from tracer1.tracking.lock import alone
from tracer1.tracking.model_registry import register_folder
from tracer1.tracking.sweeps import Sweep, join_sweep, refresh_parent

UID_TAG = "tracer1.uid"
TABLES_TAG = "mlflow.loggedArtifacts"  # MLflow's pages find tables through it
METRICS_PER_CALL, PARAMS_PER_CALL = 500, 100
MAX_TAG = 5000
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
LEAST_UPLOAD_S, UPLOAD_BYTES_PER_S = (
    30.0,
    5e6,
)  # how long one file may take: a server passes weights on to a bucket before it answers
_PATIENCE = {  # set unless the user has: MLflow would otherwise hold on to a dead server for many minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "300",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a training tells nobody but the store it was given
}


class MlflowStore:
    """A connection to one run.

    Args:
        tracking_uri: `sqlite:///mlflow.db`, `http://host:5000`, …
        record: Which run; its `run_id` is filled in when the run is found or created.
        tags: Set on a run that is created.
        sweep: Whose job the run is: it gets the sweep's run as its parent.
    """

    def __init__(
        self, tracking_uri: str, record: RunRecord, tags: Mapping[str, str], sweep: Sweep | None = None
    ) -> None:
        self._tracking_uri, self._client = tracking_uri, connected(tracking_uri)
        self._tables: list[str] = []
        self._parent = None
        if sweep is not None:
            experiment = experiment_id_of(self._client, tracking_uri, record.experiment)
            self._parent = join_sweep(self._client, experiment, sweep)
            tags = {**tags, **sweep.tags_of_job(self._parent)}
        self.run_id = self._known_run(record) or self._lost_run(record) or self._create_run(record, tags)
        record.run_id = self.run_id

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> list[str]:
        """Sends parameters and tags; MLflow's parameters cannot change, so those that would are returned by name."""
        known = self._client.get_run(self.run_id).data.params
        fresh = [Param(key, value) for key, value in params.items() if key not in known]
        for start in range(0, len(fresh), PARAMS_PER_CALL):
            self._client.log_batch(self.run_id, params=fresh[start : start + PARAMS_PER_CALL])
        changed = [key for key, value in params.items() if known.get(key, value) != value]
        notes = (
            {"config.changed": ", ".join(f"{key}: {known[key]} -> {params[key]}" for key in changed)} if changed else {}
        )
        self._set_tags({**tags, **notes})
        return changed

    def send(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Sends log calls and resume marks of `metrics.jsonl`."""
        batch: list[Metric] = []
        for line in lines:
            if "resumed_at_step" in line:
                self._set_tags({"resumed_at_step": str(line["resumed_at_step"])})
            elif "dataset" in line:
                log_dataset(self._client, self.run_id, line["dataset"])
            elif "step" in line:
                named = {**figures(line), **({"round": float(line["round"])} if "round" in line else {})}
                when, step = int(line["time"] * 1000), int(line["step"])
                batch += [Metric(name, value, when, step) for name, value in named.items()]
        for start in range(0, len(batch), METRICS_PER_CALL):
            self._client.log_batch(self.run_id, metrics=batch[start : start + METRICS_PER_CALL])

    def send_artifact(self, path: Path, inside: str) -> None:
        """Uploads a file or folder to `inside`, a folder of the run's artifacts ("" for the top)."""
        with _time_for(path):
            if path.is_dir():
                self._client.log_artifacts(self.run_id, str(path), f"{inside}/{path.name}".strip("/"))
            else:
                self._client.log_artifact(self.run_id, str(path), inside or None)
        if (path / "table.json").is_file():
            self._tables.append(f"{inside}/{path.name}/table.json".strip("/"))
            listed = [{"path": table, "type": "table"} for table in self._tables[-50:]]  # a tag has a length limit
            self._client.set_tag(self.run_id, TABLES_TAG, json.dumps(listed))

    def register(self, folder: Path, model: Mapping[str, Any]) -> None:
        """Uploads a policy and makes it a version of a registered model."""
        with _time_for(folder):
            register_folder(self._client, self.run_id, folder, model)

    def set_status(self, status: str) -> None:
        """RUNNING, FINISHED, FAILED or KILLED."""
        if status == "RUNNING":
            self._client.update_run(self.run_id, status=status)
        else:
            self._client.set_terminated(self.run_id, status)
        if self._parent is not None:
            refresh_parent(self._client, self._parent)

    def check(self) -> None:
        """Raises where the store does not answer."""
        self._client.get_run(self.run_id)

    def _known_run(self, record: RunRecord) -> str | None:
        """The run that `record` names, or None where this store has no such run."""
        if record.run_id is None:
            return None
        try:
            run = self._client.get_run(record.run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        listed = json.loads(run.data.tags.get(TABLES_TAG, "[]"))
        self._tables = [table["path"] for table in listed]
        return record.run_id if run.info.lifecycle_stage == "active" else None

    def _lost_run(self, record: RunRecord) -> str | None:
        """The run that an earlier, unacknowledged call has created."""
        experiment = self._client.get_experiment_by_name(record.experiment)
        if experiment is None:
            return None
        found = self._client.search_runs(
            [experiment.experiment_id], f"tags.`{UID_TAG}` = '{record.uid}'", max_results=1
        )
        return found[0].info.run_id if found else None

    def _create_run(self, record: RunRecord, tags: Mapping[str, str]) -> str:
        experiment_id = experiment_id_of(self._client, self._tracking_uri, record.experiment)
        origin = {} if record.run_id is None else {"tracer1.continues": record.run_id}
        run = self._client.create_run(
            experiment_id, tags={**tags, **origin, UID_TAG: record.uid}, run_name=record.run_name
        )
        record.sent_bytes = 0  # a new run gets the whole history, also what another store has had
        record.late.clear()
        return run.info.run_id

    def _set_tags(self, tags: Mapping[str, str]) -> None:
        if tags:
            self._client.log_batch(self.run_id, tags=[RunTag(key, value[:MAX_TAG]) for key, value in tags.items()])


def connected(tracking_uri: str) -> MlflowClient:
    """A client that gives up on a dead server soon, and says little. A SQLite database's folder is made."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # prints a traceback of what it raises anyway
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # names every attempt
    logging.getLogger("alembic").setLevel(logging.WARNING)  # a fresh database would print a page of migrations
    database = database_file(tracking_uri)
    if database is None:
        return MlflowClient(tracking_uri)
    if not database.is_file():
        with alone(database):
            _make(database)
    return MlflowClient(tracking_uri)


def _make(database: Path) -> None:
    """Whole or not at all: two processes that make the tables at once, or one that is killed at it, would leave it broken for good."""
    if database.is_file():  # whoever was here before has made it
        return
    new = database.with_name(f"{database.name}.new")
    new.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)  # makes the tables
    with suppress(FileExistsError):  # by `mlflow ui`, which knows no lock
        os.link(new, database)
    new.unlink()


def experiment_id_of(client: MlflowClient, tracking_uri: str, name: str) -> str:
    """The experiment of that name, made where there is none."""
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return experiment.experiment_id
    # artifacts beside the database, wherever the program was started from; a server decides for itself
    database = database_file(tracking_uri)
    place = None if database is None else (database.parent / "mlartifacts").as_uri()
    try:
        return client.create_experiment(name, artifact_location=place)
    except MlflowException as error:
        made = client.get_experiment_by_name(name) if error.error_code == "RESOURCE_ALREADY_EXISTS" else None
        if made is None:
            raise
        return made.experiment_id  # another process was quicker


@contextmanager
def _time_for(path: Path) -> Iterator[None]:
    """While a file is on its way, the server may take as long over its answer as the file's size deserves."""
    sizes = [file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    usual = os.environ[name]
    os.environ[name] = str(int(max(float(usual), LEAST_UPLOAD_S, max(sizes, default=0) / UPLOAD_BYTES_PER_S)))
    try:
        yield
    finally:
        os.environ[name] = usual


def refused(error: Exception) -> bool:
    """Whether the server is well and will refuse the same call for ever."""
    return isinstance(error, MlflowException) and error.error_code in _REFUSALS


def check_there(tracking_uri: str) -> None:
    """For those that only read. Raises ConfigError for a SQLite database that is not there."""
    file = database_file(tracking_uri)
    if file is not None and not file.is_file():
        raise ConfigError(f"There is no database {file}. Say where the runs are with --tracking-uri.")


def database_file(tracking_uri: str) -> Path | None:
    """The file behind a SQLite address, absolute; None for every other store."""
    prefix = "sqlite:///"
    if not tracking_uri.startswith(prefix) or tracking_uri == "sqlite:///:memory:":
        return None
    return Path(tracking_uri.removeprefix(prefix).partition("?")[0]).absolute()
