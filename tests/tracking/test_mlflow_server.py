"""MLflow as a team runs it: its server on PostgreSQL, killed in mid run; what it was told is compared point by point with the journal.

PostgreSQL comes from the system. On a developer's machine the test is skipped without it; in CI that is a failure.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from real_server import PATIENCE_S, Postgres, Server, postgres_binaries

from tracer1.report.chosen import runs_named
from tracer1.report.comparison import compare
from tracer1.tracking.journal import RunRecord, figures, read_metrics
from tracer1.tracking.mlflow_logger import RunLogger

ROUNDS = 60
JOB = """
import sys, time
from pathlib import Path
from tracer1.tracking.delivery import Pace
from tracer1.tracking.mlflow_logger import RunLogger
out, uri, seed, stop = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
sweep = {"folder": out, "name": "demo", "common": [], "swept": [f"seed={seed}"]}
logger = RunLogger(f"{out}/{seed}", tracking_uri=uri, sweep=sweep, register="planner", run_name=f"demo seed={seed}",
                   system_metrics=False)
logger.pace = Pace(0.05, 0.2, 0.5)
logger.log_hyperparams({"run_name": "demo", "seed": seed, "optimizer": {"lr": 1e-3}, "paths": {"outputs": out}})
facts = {"name": "toy", "digest": "0123456789abcdef", "source": "/data/toy", "profile": {"steps": 6}}
logger.log_dataset({**facts, "context": "training"})
round = 0
while not stop.exists() or round < ROUNDS:
    round += 1
    logger.log_metrics({"reward/total": seed + round / 1000, "policy/kl": float("nan"), "round": round}, 4 * round)
    if round == 20:
        (logger.output_dir / "tables").mkdir()
        (logger.output_dir / "tables" / "page.html").write_text("<p>a table</p>")
        logger.log_artifact(logger.output_dir / "tables")
    time.sleep(0.05)
(logger.output_dir / "policy").mkdir()
(logger.output_dir / "policy" / "model.safetensors").write_bytes(bytes(1000))
logger.log_model(logger.output_dir / "policy", round, {"val/heldout/step_success": 0.5})
logger.finalize("success")
""".replace("ROUNDS", str(ROUNDS))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    missing = "PostgreSQL is missing: apt-get install postgresql" if postgres_binaries() is None else ""
    if importlib.util.find_spec("psycopg2") is None:
        missing = "psycopg2 is missing: pip install 'tracer1[mlflow-server]'"
    if missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a database. {missing}")
        pytest.skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="tracer1-mlflow-"))  # not pytest's, which no other user may enter
    folder.chmod(0o755)
    database = Postgres(postgres_binaries(), folder)
    made = Server(database.uri, folder)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        database.stop()
        shutil.rmtree(folder)


def wait_until(condition, what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after {seconds:.0f} s"
        time.sleep(0.1)


def lines_of(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(read_metrics(path)) if path.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_server_costs_no_training_a_round_and_loses_nothing(server: Server, tmp_path: Path):
    out, stop = tmp_path / "sweep", tmp_path / "stop"
    out.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", JOB, str(out), server.uri, str(seed), str(stop)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    client = MlflowClient(server.uri)
    try:
        wait_until(lambda: all(lines_of(out / seed) > 25 for seed in ("1", "2")), "rounds")
        server.kill()
        done = [lines_of(out / seed) for seed in ("1", "2")]
        wait_until(
            lambda: all(lines_of(out / str(k + 1)) > done[k] + 10 for k in (0, 1)), "round without the server", 30
        )
        server.start()
        missed = {seed: (out / seed / "metrics.jsonl").stat().st_size for seed in ("1", "2")}
        wait_until(
            lambda: all(RunRecord.load(out / seed / "run.json").sent_bytes >= size for seed, size in missed.items()),
            "delivery of what was missed",
        )
        stop.touch()
        said = [job.communicate(timeout=PATIENCE_S)[1] for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    assert [job.returncode for job in jobs] == [0, 0], said
    assert all("The training goes on" in text for text in said)

    (experiment,) = client.search_experiments(filter_string="name = 'tracer1'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["demo seed=1", "demo seed=2", "sweep demo"]
    for seed in (1, 2):
        run = runs[f"demo seed={seed}"]
        assert (run.info.status, run.data.tags["mlflow.parentRunId"]) == ("FINISHED", runs["sweep demo"].info.run_id)
        lines = read_metrics(out / str(seed) / "metrics.jsonl")
        sent = client.get_metric_history(run.info.run_id, "reward/total")
        told = {(line["step"], figures(line)["reward/total"]) for line in lines}
        assert {(point.step, point.value) for point in sent} == told
        assert len(sent) == len(lines) >= ROUNDS
        assert client.list_artifacts(run.info.run_id, "tables")[0].path == "tables/page.html"
        assert run.inputs.dataset_inputs[0].dataset.digest == "0123456789abcdef"
    versions = client.search_model_versions("name = 'planner'")
    assert {version.tags["run"] for version in versions} == {"demo seed=1", "demo seed=2"}
    place = client.download_artifacts(versions[0].run_id, versions[0].source.partition(f"{versions[0].run_id}/")[2])
    assert [path.name for path in Path(place).iterdir()] == ["model.safetensors"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runs_of_the_server_and_of_another_machines_database_compare(server: Server, tmp_path: Path):
    runs = {server.uri: (0.001, "/home/a/out"), f"sqlite:///{tmp_path}/other.db": (0.002, "/scratch/b/out")}
    for uri, (rate, outputs) in runs.items():
        for seed in (1, 2):
            logger = RunLogger(
                str(tmp_path / f"{rate}-{seed}"), tracking_uri=uri, run_name=f"{rate} {seed}", system_metrics=False
            )
            config = {"run_name": "r", "seed": seed, "optimizer": {"lr": rate}, "paths": {"outputs": outputs}}
            logger.log_hyperparams({**config, "model": {"path": f"{outputs}/stage1/policy"}})
            for round_ in (1, 2):
                logger.log_metrics(
                    {"val/heldout/step_success": 100 * rate * round_ + seed / 100, "round": round_}, 4 * round_
                )
            logger.finalize("success")
    chosen = runs_named(["0.001 1", "0.001 2", "0.002 1", "0.002 2"], list(runs))
    found = compare(list(chosen))
    assert [len(side.trainings) for side in found.sides] == [2, 2]
    assert dict(found.settings) == {"optimizer.lr": ["0.001", "0.002"]}
    (row,) = [row for row in found.rows if row.metric == "val/heldout/step_success"]
    assert row.values[0].by_seed == pytest.approx({"1": 0.21, "2": 0.22})
    assert row.differences[1].value == pytest.approx(0.2)
    assert row.differences[1].beyond
    points = found.sides[0].trainings[0].points("val/heldout/step_success", by_round=True)
    assert dict(points) == pytest.approx({1.0: 0.11, 2.0: 0.21})
