"""Which runs a command line means: folders, ids and names in MLflow stores, or the best of an experiment. It compares nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer1.errors import ConfigError
from tracer1.report.found import find
from tracer1.report.trainings import Training, read_training
from tracer1.tracking.config_text import without_passwords

if TYPE_CHECKING:
    from tracer1.report.stored import Stores

DEFAULT_STORE = "sqlite:///mlflow.db"

Named = dict[Training, str]  # how each is called on the page


def choose(
    runs: Sequence[str], uris: Sequence[str], experiment: str | None = None, best_by: str | None = None, top: int = 5
) -> Named:
    """The runs that are named, or else those of an experiment; see the two functions below."""
    return runs_named(runs, uris) if runs else runs_of_experiment(experiment or "", uris, best_by, top)


def runs_named(asked: Sequence[str], uris: Sequence[str]) -> Named:
    """The runs that were asked for, in that order, each once.

    Args:
        asked: A run's folder or a folder of runs; otherwise a run's id, the beginning of one, its name, or a sweep.
        uris: MLflow stores; none means `mlflow.db` in the current folder, if it is there.

    Raises:
        ConfigError: nothing is called so, or several runs are; the nearest names are told.
        DataError: a folder without a run.
    """
    stores, found, seen = None, Named(), set()
    for name in asked:
        path = Path(name)
        if path.exists():
            found |= {read_training(folder): str(folder) for folder in find([path]).trainings}
            continue
        stores = stores or _stores(uris)
        runs = stores.find(name)
        if not runs:
            near = ", ".join(stores.nearest(name))
            where = ", ".join(map(without_passwords, uris)) or DEFAULT_STORE
            raise ConfigError(f"There is no run or folder {name!r} ({where}).{f' Near it: {near}.' if near else ''}")
        found |= _read([run for run in runs if run.run.info.run_id not in seen])
        seen |= {run.run.info.run_id for run in runs}
    return found


def runs_of_experiment(
    experiment: str, uris: Sequence[str], metric: str | None, top: int, lowest: bool | None = None
) -> Named:
    """The best runs of an experiment by the last value of a metric; the newest ones where no metric is named.

    Args:
        experiment: Its name, in every store.
        uris: MLflow stores, as in `runs_named`.
        metric: What the best is the best of.
        top: How many.
        lowest: Whether less is better; None goes by the metric.

    Raises:
        ConfigError: no such experiment or metric.
    """
    from tracer1.report.comparison import direction

    low = direction(metric or "") < 0 if lowest is None else lowest
    return _read(_stores(uris).best(experiment, metric, low, top))


def _stores(uris: Sequence[str]) -> "Stores":
    from tracer1.report.stored import Stores  # only now: folders alone need no MLflow

    return Stores(uris or [DEFAULT_STORE])


def _read(runs: Sequence) -> Named:
    from tracer1.report.stored import training_of

    return {training_of(run): f"{run.name} ({run.run.info.run_id[:8]} in {without_passwords(run.uri)})" for run in runs}
