"""RunLogger against a real SQLite store, a server that refuses, one that hangs and one that comes back."""

import fcntl
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from werkzeug.serving import make_server

from tracer1.errors import ConfigError
from tracer1.schema import Response, Rollout, Step
from tracer1.tracking.delivery import Pace
from tracer1.tracking.journal import RunRecord, read_metrics
from tracer1.tracking.lock import alone
from tracer1.tracking.mlflow_logger import RunLogger
from tracer1.tracking.mlflow_store import connected
from tracer1.tracking.origin import git_tags
from tracer1.tracking.tables import log_rollouts

QUICK = Pace(between_s=0.0, first_retry_s=0.1, last_retry_s=0.3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests of this file: creating one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/deep/mlflow.db"


@pytest.fixture
def _short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def make(folder: Path, uri: str, **settings: object) -> RunLogger:
    logger = RunLogger(str(folder), tracking_uri=uri, system_metrics=False, **settings)
    logger.pace = QUICK
    return logger


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def test_a_run_in_sqlite_has_config_tags_metrics_and_tables(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = make(tmp_path, store, run_name="demo", tags={"note": 1})
    logger.log_hyperparams({"trainer": {"max_epochs": 2}, "executor": {"api_key": "s3cret"}})
    logger.log_metrics({"reward/total": 0.25, "epoch": 0}, step=0)
    logger.log_metrics({"reward/total": 0.5, "policy/kl": float("nan"), "epoch": 1}, step=1)
    step = Step("k", "d", "t", 0, "u", None, (), ())
    log_rollouts(logger, [Rollout(step, Response("", (), ()), reward=1.0)], 1)
    logger.finalize("success")

    client = MlflowClient(store)
    run = client.get_run(logger.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "demo")
    assert run.data.params == {"trainer.max_epochs": "2", "executor.api_key": "***"}
    assert {"note", "version.python", "version.torch", *git_tags(Path(__file__).parent)} <= run.data.tags.keys()
    assert RunRecord.load(tmp_path / "run.json").origin["version.torch"] == run.data.tags["version.torch"]
    assert history(client, logger.run_id, "reward/total") == [(0, 0.25), (1, 0.5)]
    assert history(client, logger.run_id, "round") == [(0, 1.0), (1, 2.0)]
    listed = {item.path for item in client.list_artifacts(logger.run_id, "tables/val-0001")}
    assert listed == {"tables/val-0001/page.html", "tables/val-0001/table.json"}
    assert "s3cret" not in Path(client.download_artifacts(logger.run_id, "config.yaml")).read_text()
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", store)  # load_table looks there
    (experiment,) = client.search_experiments(filter_string="name = 'tracer1'")
    table = client.load_table(experiment.experiment_id, "tables/val-0001/table.json")
    assert list(table["reward"]) == [1.0]
    assert [line["reward/total"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [0.25, 0.5]


def test_resume_continues_the_same_run(tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture) -> None:
    first = make(tmp_path, store)
    first.log_hyperparams({"max_rounds": 2})
    for step in range(3):
        first.log_metrics({"reward/total": 1.0}, step)
    first.finalize("failed")
    assert MlflowClient(store).get_run(first.run_id).info.status == "FAILED"

    second = make(tmp_path, store)
    second.log_hyperparams({"max_rounds": 4})
    second.resume(step=2)
    second.log_metrics({"reward/total": 2.0}, 2)
    second.finalize("success")
    second.log_metrics({"val/toy/match": 1.0}, 3)  # a validation after the training: Lightning finalizes again
    assert second._delivery.flush(10)
    run = MlflowClient(store).get_run(first.run_id)
    assert run.info.status == "RUNNING"
    second.finalize("success")

    run = MlflowClient(store).get_run(first.run_id)
    assert (second.run_id, run.info.status) == (first.run_id, "FINISHED")
    assert run.data.params == {"max_rounds": "2"}
    assert run.data.tags["config.changed"] == "max_rounds: 2 -> 4"
    assert "max_rounds" in caplog.text
    kept = [(line["step"], line.get("reward/total")) for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert kept == [(0, 1.0), (1, 1.0), (2, 2.0), (3, None)]
    with pytest.raises(ConfigError, match="before the training"):
        second.resume()


def test_run_id_of_a_checkpoint_in_another_folder_and_an_unknown_one(tmp_path: Path, store: str) -> None:
    first = make(tmp_path / "a", store)
    first.log_metrics({"reward/total": 1.0}, 0)
    first.finalize("success")
    second = make(tmp_path / "b", store)
    second.resume(first.run_id, step=1)
    second.log_metrics({"reward/total": 2.0}, 1)
    second.finalize("success")
    assert history(MlflowClient(store), first.run_id, "reward/total") == [(0, 1.0), (1, 2.0)]
    third = make(tmp_path / "b", store)
    third.resume("0" * 32)
    third.log_metrics({"reward/total": 3.0}, 2)
    third.finalize("success")
    assert third.run_id not in (None, first.run_id, "0" * 32)
    assert history(MlflowClient(store), third.run_id, "reward/total") == [(1, 2.0), (2, 3.0)]


def test_a_fresh_start_in_a_used_folder_keeps_the_old_files(tmp_path: Path, store: str) -> None:
    for _ in range(2):
        logger = make(tmp_path, store)
        logger.log_metrics({"reward/total": 1.0}, 0)
        logger.finalize("success")
    old = [RunRecord.load(path) for path in tmp_path.glob("run-*.json")]
    assert len(old) == len(list(tmp_path.glob("metrics-*.jsonl"))) == 1
    assert old[0].run_id != logger.run_id
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def test_interrupt_is_killed(tmp_path: Path, store: str) -> None:
    logger = make(tmp_path, store)
    logger.log_metrics({"reward/total": 1.0}, 0)
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        logger.finalize("failed")  # what Lightning says
    assert MlflowClient(store).get_run(logger.run_id).info.status == "KILLED"


def test_unknown_metric_and_file_store_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reward/total"):
        make(tmp_path, "sqlite:///x.db").log_metrics({"total_reward/total": 1.0}, 0)
    for uri in ("./mlruns", "file:///tmp/mlruns", ""):
        with pytest.raises(ConfigError, match="deprecated"):
            make(tmp_path, uri)
    for wanted in ({"register": "planner"}, {"checkpoints": "last"}):
        with pytest.raises(ConfigError, match="leave them, or logger=none, out"):
            make(tmp_path, "sqlite:///x.db", mlflow=False, **wanted)


@pytest.fixture(params=["refuses", "hangs"])
def dead_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that refuses connections, or accepts them and never answers."""
    if request.param == "refuses":
        yield f"http://127.0.0.1:{free_port()}"
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.usefixtures("_short_timeouts")
def test_a_dead_server_costs_the_training_nothing(
    tmp_path: Path, dead_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make(tmp_path, dead_server.replace("//", "//me:hunter2@"))
    logger.log_hyperparams({"a": 1})
    logger.start()
    started = time.monotonic()
    for step in range(100):
        logger.log_metrics({"reward/total": step / 100}, step)
    assert time.monotonic() - started < 5  # one request alone would wait a second
    time.sleep(1.5)
    started = time.monotonic()
    logger.finalize("success")
    assert time.monotonic() - started < 10
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == list(range(100))
    ours = [
        record.message
        for record in caplog.records
        if record.name.startswith("tracer1") and record.levelno >= logging.WARNING
    ]
    assert sum("not reachable" in message for message in ours) == 1
    assert "has not taken 101 lines" in ours[-1]
    assert "hunter2" not in "".join(ours)
    assert "hunter2" not in (tmp_path / "run.json").read_text()
    logger._delivery._pace = Pace(1000, 1000, 1000)  # leave the dead server alone


@pytest.mark.usefixtures("_short_timeouts")
def test_a_server_that_comes_back_gets_what_it_missed(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", store)
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(tmp_path / "artifacts"))
    from mlflow.server import app

    port = free_port()
    logger = make(tmp_path / "run", f"http://127.0.0.1:{port}", experiment="comes-back")
    for step in range(5):
        logger.log_metrics({"reward/total": float(step)}, step)
    time.sleep(0.3)
    assert logger.run_id is None
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        logger.log_metrics({"reward/total": 5.0}, 5)
        deadline = time.monotonic() + 20
        while logger._delivery.unsent() and time.monotonic() < deadline:
            time.sleep(0.05)
        logger.finalize("success")
    finally:
        server.shutdown()
        thread.join()
    run = MlflowClient(store).get_run(logger.run_id)
    assert run.info.status == "FINISHED"
    assert history(MlflowClient(store), logger.run_id, "reward/total") == [(k, float(k)) for k in range(6)]
    assert RunRecord.load(tmp_path / "run" / "run.json").sent_bytes == os.path.getsize(
        tmp_path / "run" / "metrics.jsonl"
    )


def test_lightning_drives_it(tmp_path: Path, store: str) -> None:
    import torch
    from lightning.pytorch import LightningModule, Trainer

    class Toy(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            loss = self.layer(batch).square().mean()
            self.log("policy/loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    logger = make(tmp_path, store)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=2, log_every_n_steps=1, logger=logger, default_root_dir=tmp_path, **quiet)
    trainer.fit(Toy(), torch.ones(3, 1))
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [(line["round"], line["step"]) for line in lines] == [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4), (2, 5)]
    assert MlflowClient(store).get_run(logger.run_id).info.status == "FINISHED"
    assert (tmp_path / "tracer1" / tmp_path.name / "checkpoints").is_dir()


def test_what_a_broken_database_answers_is_raised_and_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A full disk, say: whoever asked says it, in a line; MLflow's traceback of a hundred would hide that line."""
    client = connected(f"sqlite:///{tmp_path}/mlflow.db")
    client.get_experiment_by_name("any")  # makes the tables
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("DROP TABLE runs")
    capfd.readouterr()
    with pytest.raises(MlflowException, match="no such table"):
        client.get_run("0" * 32)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_trainings_that_begin_at_once_share_a_new_database(tmp_path: Path) -> None:
    """Each in a process of its own; MLflow makes the tables in some twenty migrations, and locks none of them."""
    program = (
        "import sys\nfrom tracer1.tracking.mlflow_store import connected, experiment_id_of\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "client = connected(sys.argv[1])\nclient.create_run(experiment_id_of(client, sys.argv[1], 'e'))\n"
    )
    uri = f"sqlite:///{tmp_path}/mlflow.db?timeout=30"
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", program, uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for one in begun:
        assert one.stdout.readline() == b"ready\n"
    for one in begun:
        one.stdin.write(b"go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=120)[1].decode() for one in begun]
    assert [one.returncode for one in begun] == [0, 0], said
    assert len(connected(uri).search_runs(["1"])) == 2


def test_a_process_that_is_forked_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    with alone(tmp_path / "mlflow.db"):
        child = os.fork()
        if not child:  # a data worker, for an hour
            time.sleep(60)
            os._exit(0)
    try:
        with (tmp_path / "mlflow.db.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
