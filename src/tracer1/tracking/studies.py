"""Studies in MLflow: one parent run for each study, one child for each job, with fixed tags. It knows nothing of trainings.

Tags of a parent: `study`, `variable`, and what its config says about it (`metrics`, `expect`, `claim`, `labels`). Tags of a job:
`study`, `variable`, `value`, `seed`. A job that is logged again is the same run: one study, value and seed is one row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracer1.errors import ConfigError
from tracer1.tracking.mlflow_store import connected, experiment_id_of

KIND = "tracer1.kind"  # `study` of a parent, `study_job` of a job: other runs have none
MOST = 1000  # jobs of one study


@dataclass(frozen=True, slots=True)
class Job:
    """One job's figures."""

    study: str
    value: str
    seed: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StudyRuns:
    """A study as MLflow has it."""

    name: str
    variable: str
    about: Mapping[str, str]  # metrics, expect, claim, labels
    jobs: Sequence[Job]


class StudyStore:
    """A connection.

    Args:
        tracking_uri: `sqlite:///mlflow.db`, `http://host:5000`, …
        experiment: MLflow's experiment.
    """

    def __init__(self, tracking_uri: str, experiment: str = "tracer1") -> None:
        self._client, self._uri, self._experiment = connected(tracking_uri), tracking_uri, experiment

    def parent(self, study: str, variable: str, about: Mapping[str, str]) -> str:
        """The id of the study's run, which is made where there is none and told what is new about it."""
        experiment = experiment_id_of(self._client, self._uri, self._experiment)
        tags = {**about, "study": study, "variable": variable, KIND: "study"}
        found = self._find([experiment], study, "study")
        if found:
            run_id = found[0].info.run_id
        else:
            run_id = self._client.create_run(experiment, tags=tags, run_name=f"study {study}").info.run_id
            self._client.set_terminated(run_id)
        for name, value in tags.items():
            if not found or found[0].data.tags.get(name) != value:
                self._client.set_tag(run_id, name, value)
        return run_id

    def log(self, parent: str, job: Job, notes: Mapping[str, str]) -> str:
        """Writes a job's figures, over those that it had before.

        Args:
            parent: The study's run.
            job: What to write.
            notes: Further tags.

        Returns:
            The id of its run.
        """
        experiment = experiment_id_of(self._client, self._uri, self._experiment)
        tags = {"study": job.study, "value": job.value, "seed": str(job.seed), KIND: "study_job", **notes}
        for run in self._find([experiment], job.study, "study_job"):
            if (run.data.tags.get("value"), run.data.tags.get("seed")) == (job.value, str(job.seed)):
                self._client.delete_run(run.info.run_id)  # MLflow keeps it in its bin
        name = f"{job.study} {job.value} seed {job.seed}"
        run_id = self._client.create_run(
            experiment, tags={**tags, "mlflow.parentRunId": parent}, run_name=name
        ).info.run_id
        for metric, value in job.figures.items():
            self._client.log_metric(run_id, metric, value)
        self._client.set_terminated(run_id)
        return run_id

    def names(self) -> list[str]:
        """The studies that there are."""
        return sorted({run.data.tags["study"] for run in self._find(self._experiments(), None, "study")})

    def read(self, study: str) -> StudyRuns:
        """A study and its jobs.

        Raises:
            ConfigError: there is none of that name.
        """
        experiments = self._experiments()
        parents = self._find(experiments, study, "study")
        if not parents:
            known = ", ".join(self.names()) or "none"
            raise ConfigError(
                f"{self._uri} has no study {study!r}. There are: {known}. Run one: train.py +experiment=ablation_{study}."
            )
        tags = parents[0].data.tags
        jobs = [
            Job(study, run.data.tags["value"], int(run.data.tags["seed"]), dict(run.data.metrics))
            for run in self._find(experiments, study, "study_job")
        ]
        jobs.sort(key=lambda job: job.seed)
        return StudyRuns(study, tags["variable"], tags, jobs)

    def _experiments(self) -> list[str]:
        experiment = self._client.get_experiment_by_name(self._experiment)
        return [] if experiment is None else [experiment.experiment_id]

    def _find(self, experiments: list[str], study: str | None, kind: str) -> list[Any]:
        if not experiments:
            return []
        which = f"tags.`{KIND}` = '{kind}'" + (f" and tags.study = '{study}'" if study is not None else "")
        return list(self._client.search_runs(experiments, which, max_results=MOST))
