"""Runs of MLflow stores as trainings, so that what was recorded elsewhere stands beside a folder here. It knows nothing of pages.

A run is found by its id, the beginning of its id, or its name, in any number of stores; the run of a sweep stands for its jobs.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tracer1.errors import ConfigError
from tracer1.report.trainings import Training, add_line, data_of
from tracer1.tracking.config_text import without_passwords
from tracer1.tracking.mlflow_store import check_there, connected
from tracer1.tracking.sweeps import KIND, PARENT_TAG

PAGE = 1000  # runs of one request
LEAST_PREFIX = 4  # characters of an id
AT_ONCE = 8  # requests
ORIGIN = ("mlflow.source.git.commit", "git.dirty")
ENDED = {"FINISHED": True, "RUNNING": False, "SCHEDULED": False, "FAILED": False, "KILLED": False}


@dataclass(frozen=True)
class StoredRun:
    """A run and the store that has it."""

    uri: str
    client: MlflowClient
    run: Run

    @property
    def name(self) -> str:
        """What MLflow calls it."""
        return self.run.info.run_name or self.run.info.run_id

    @property
    def kind(self) -> str:
        """`sweep`, `study` or `study_job`; empty for a training."""
        return self.run.data.tags.get(KIND, "")


class Stores:
    """Several MLflow stores.

    Args:
        uris: `sqlite:///mlflow.db`, `http://host:5000`, ...

    Raises:
        ConfigError: a database file that is not there; a store that does not answer.
    """

    def __init__(self, uris: Sequence[str]) -> None:
        self._clients: dict[str, MlflowClient] = {}
        for uri in uris:
            check_there(uri)
            self._clients[uri] = connected(uri)

    def find(self, asked: str) -> list[StoredRun]:
        """The run that an id, the beginning of one, or a name stands for; of a sweep or a study its jobs. Empty where there is none.

        Raises:
            ConfigError: several runs are meant, or a store does not answer.
        """
        found = [*self._where(f"attributes.run_name = {_quoted(asked)}")]
        if not found and len(asked) >= LEAST_PREFIX and set(asked) <= set("0123456789abcdef"):
            found = [*self._where(f"attributes.run_id LIKE '{asked}%'")]
        if len(found) > 1:
            known = "; ".join(f"{one.run.info.run_id} ({one.name}, seed {_seed(one)})" for one in found[:5])
            raise ConfigError(f"{len(found)} runs are meant by {asked!r}. Name one by its id: {known}.")
        return [job for one in found for job in self._jobs(one)]

    def nearest(self, asked: str) -> list[str]:
        """Up to three names of runs that are like `asked`."""
        return difflib.get_close_matches(asked, list(dict.fromkeys(one.name for one in self._where(""))), 3)

    def best(self, experiment: str, metric: str | None, lowest: bool, top: int) -> list[StoredRun]:
        """The best runs of an experiment by the last value of a metric, or the newest ones.

        Raises:
            ConfigError: no such experiment, or no run has the metric.
        """
        every = [one for one in self._where("", experiment) if not one.kind]
        if metric is None:
            return sorted(every, key=lambda one: -one.run.info.start_time)[:top]
        having = [one for one in every if metric in one.run.data.metrics]
        if not having:
            known = sorted({name for one in every for name in one.run.data.metrics})
            close = difflib.get_close_matches(metric, known, 3)
            raise ConfigError(
                f"No run of {experiment!r} has the metric {metric!r}. Near it: {', '.join(close) or 'nothing'}."
            )
        return sorted(having, key=lambda one: one.run.data.metrics[metric] * (1 if lowest else -1))[:top]

    def _jobs(self, one: StoredRun) -> list[StoredRun]:
        if one.kind not in ("sweep", "study"):
            return [one]
        which = f"tags.`{PARENT_TAG}` = '{one.run.info.run_id}'"
        jobs = [job for job in self._where(which) if job.uri == one.uri]
        if not jobs:
            raise ConfigError(f"{one.name!r} has no jobs yet.")
        return sorted(jobs, key=lambda job: job.run.info.start_time)

    def _where(self, which: str, experiment: str | None = None) -> Iterator[StoredRun]:
        known: list[str] = []
        hits = 0
        for uri, client in self._clients.items():
            try:
                experiments = client.search_experiments()
                known += [one.name for one in experiments]
                ids = [one.experiment_id for one in experiments if experiment in (None, one.name)]
                hits += len(ids)
                token = None
                while ids:
                    page = client.search_runs(ids, which, max_results=PAGE, page_token=token)
                    yield from (StoredRun(uri, client, run) for run in page)
                    token = page.token
                    if not token:
                        break
            except MlflowException as error:
                said = without_passwords(f"{uri} does not answer ({str(error).splitlines()[0]:.200})")
                raise ConfigError(f"{said}. Is the server up, and the address right?") from error
        if experiment is not None and not hits:
            close = difflib.get_close_matches(experiment, known, 3) or sorted(set(known))
            raise ConfigError(f"No store has an experiment {experiment!r}. There are: {', '.join(close) or 'none'}.")


def training_of(stored: StoredRun) -> Training:
    """A run as its folder would tell it: config, origin, data, and every figure with what a resumed training did again left out."""
    run, tags = stored.run, stored.run.data.tags
    config = dict(run.data.params)
    training = Training(Path(config.get("paths.output_dir") or run.info.run_id), config)
    training.origin = {name: value for name, value in tags.items() if name in ORIGIN or name.startswith("version.")}
    training.ended = ENDED.get(run.info.status, False)
    training.resumed = int("resumed_at_step" in tags)
    for used in run.inputs.dataset_inputs if run.inputs else ():
        context = next((tag.value for tag in used.tags if tag.key == "mlflow.data.context"), "?")
        training.data |= data_of({"context": context, "name": used.dataset.name, "digest": used.dataset.digest})
    lines = _lines(stored)
    for line in lines:
        add_line(training.series, line, line["step"])
    if lines:
        training.began, training.seconds = lines[0]["time"], lines[-1]["time"] - lines[0]["time"]
    return training


def _lines(stored: StoredRun) -> list[Mapping[str, Any]]:
    """The run's log calls, put together again from the histories of its metrics."""
    run_id, names = stored.run.info.run_id, list(stored.run.data.metrics)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        histories = list(pool.map(lambda name: stored.client.get_metric_history(run_id, name), names))
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for name, history in zip(names, histories, strict=True):
        for point in history:
            line = found.setdefault(
                (point.timestamp, point.step), {"time": point.timestamp / 1000, "step": float(point.step)}
            )
            line[name] = point.value
    return [found[key] for key in sorted(found)]


def _seed(one: StoredRun) -> str:
    return one.run.data.params.get("seed", "?")


def _quoted(name: str) -> str:
    return f'"{name}"' if "'" in name else f"'{name}'"
