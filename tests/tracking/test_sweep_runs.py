"""Runs of a sweep below one parent, data sets and registered policies, in a real SQLite store."""

import json
import threading
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tracer1.errors import ConfigError
from tracer1.tracking.delivery import Pace
from tracer1.tracking.mlflow_logger import RunLogger
from tracer1.tracking.mlflow_store import connected, experiment_id_of
from tracer1.tracking.sweeps import Sweep, join_sweep

FACTS = {"name": "toy", "digest": "0123456789abcdef", "source": "/data/toy", "profile": {"steps": 6}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def log_run(folder: Path, uri: str, **settings: object) -> RunLogger:
    logger = RunLogger(str(folder), tracking_uri=uri, system_metrics=False, **settings)
    logger.pace = Pace(between_s=0.0, first_retry_s=0.1, last_retry_s=0.3)
    logger.log_metrics({"reward/total": 0.5, "round": 1}, 4)
    return logger


def sweep(folder: Path, *swept: str) -> dict[str, object]:
    return {"folder": str(folder), "name": "demo", "common": ["rounds=1"], "swept": list(swept)}


def test_jobs_of_a_sweep_have_one_parent_that_runs_and_ends_with_them(tmp_path: Path, store: str) -> None:
    client = MlflowClient(store)
    first = log_run(tmp_path / "0", store, sweep=sweep(tmp_path, "seed=1"), run_name="demo seed=1")
    assert first._delivery.flush(20)
    parent_id = client.get_run(first.run_id).data.tags["mlflow.parentRunId"]
    assert client.get_run(parent_id).info.status == "RUNNING"
    second = log_run(tmp_path / "1", store, sweep=sweep(tmp_path, "seed=2"), run_name="demo seed=2")
    second.finalize("success")
    assert client.get_run(parent_id).info.status == "RUNNING"  # the first goes on
    first.finalize("failed")
    parent, child = client.get_run(parent_id), client.get_run(second.run_id)
    assert (parent.info.run_name, parent.info.status) == ("sweep demo", "FAILED")
    assert (child.data.tags["mlflow.parentRunId"], child.data.tags["sweep.job"]) == (parent_id, "seed=2")
    assert "sweep over `seed`" in parent.data.tags["mlflow.note.content"]
    again = log_run(tmp_path / "2", store, sweep=sweep(tmp_path, "seed=3"))  # resumed a day later
    again.finalize("success")
    assert client.get_run(again.run_id).data.tags["mlflow.parentRunId"] == parent_id


def test_jobs_that_begin_at_once_meet_at_the_same_parent(tmp_path: Path, store: str) -> None:
    client = connected(store)
    experiment = experiment_id_of(client, store, "side by side")
    found: list[str] = []
    jobs = [
        threading.Thread(target=lambda: found.append(join_sweep(client, experiment, Sweep(tmp_path, "x"))))
        for _ in range(4)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert (len(found), len(set(found))) == (4, 1)
    assert len(client.search_runs([experiment])) == 1
    # the answer to the making was lost, or the store is another one: the tag finds it
    (tmp_path / "sweep.json").write_text(json.dumps({"uid": json.loads((tmp_path / "sweep.json").read_text())["uid"]}))
    assert join_sweep(client, experiment, Sweep(tmp_path, "x")) == found[0]
    client.delete_run(found[0])
    assert join_sweep(client, experiment, Sweep(tmp_path, "x")) != found[0]


def test_a_data_set_is_an_input_of_the_run_once(tmp_path: Path, store: str) -> None:
    logger = log_run(tmp_path, store)
    for _ in range(2):  # a run that was resumed says it again
        logger.log_dataset({**FACTS, "context": "training"})
    logger.log_dataset({**FACTS, "digest": "f" * 16, "context": "validation", "source": "https://host/toy"})
    logger.finalize("success")
    used = MlflowClient(store).get_run(logger.run_id).inputs.dataset_inputs
    assert {(one.dataset.digest, one.tags[0].value, one.dataset.source_type) for one in used} == {
        ("0123456789abcdef", "training", "local"),
        ("f" * 16, "validation", "http"),
    }
    assert len(used) == 2
    assert json.loads(used[0].dataset.profile) == {"steps": 6}


def test_a_policy_becomes_a_version_with_files_of_its_own(tmp_path: Path, store: str) -> None:
    logger = log_run(tmp_path, store, register="planner", run_name="r")
    (tmp_path / "policy").mkdir()
    weights = tmp_path / "policy" / "model.safetensors"
    for round_, content in ((1, "one"), (1, "one"), (2, "two")):  # finished, resumed for nothing, gone on with
        weights.write_text(content)
        logger.log_model(tmp_path / "policy", round_, {"val/heldout/step_success": 0.5})
        logger.finalize("success")
    client = MlflowClient(store)
    versions = {str(version.version): version for version in client.search_model_versions("name = 'planner'")}
    assert sorted(versions) == ["1", "2"]
    two = versions["2"]
    assert (two.run_id, two.tags) == (logger.run_id, {"round": "2", "run": "r", "heldout/step_success": "0.5"})
    for round_, content in ((1, "one"), (2, "two")):
        place = client.download_artifacts(logger.run_id, f"policy/round-00000{round_}/model.safetensors")
        assert Path(place).read_text() == content
    assert "models:/planner/2" in client.get_model_version("planner", "2").description
    assert client.get_run(logger.run_id).info.status == "FINISHED"


@pytest.mark.parametrize(("setting", "value"), [("checkpoints", "bset"), ("register", "a/b")])
def test_settings_that_cannot_work_are_refused(tmp_path: Path, setting: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"logger.{setting} is '{value}'"):
        RunLogger(str(tmp_path), **{setting: value})
