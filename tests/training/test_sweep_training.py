"""A Hydra sweep of toy trainings: folders of their own, one parent, and everything beside the figures that MLflow gets."""

import json
from collections.abc import Callable
from pathlib import Path

import toy_run
from mlflow.tracking import MlflowClient

SEEDS = "seed=1,2"


def test_a_sweep_leaves_runs_below_a_parent_with_data_policy_and_profile(
    program: Callable[..., object], toy: Path, tmp_path: Path, one_thread: None
):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    more = [
        "rounds=1",
        "logger.register=toy",
        "logger.checkpoints=last",
        "+trainer/profiler=torch",
        "trainer.profiler.round=1",
    ]
    said = toy_run.toy_overrides(toy, tmp_path, SEEDS, *more, f"logger.tracking_uri={uri}", "ckpt_path=auto", "-m")
    assert program("train", said).code == 0
    client = MlflowClient(uri)

    def runs() -> dict[str, object]:
        return {
            run.info.run_name: run for run in client.search_runs([e.experiment_id for e in client.search_experiments()])
        }

    found = runs()
    assert sorted(found) == ["run seed=1", "run seed=2", "sweep run"]
    jobs = [found["run seed=1"], found["run seed=2"]]
    assert {job.data.tags["mlflow.parentRunId"] for job in jobs} == {found["sweep run"].info.run_id}
    assert {job.info.status for job in found.values()} == {"FINISHED"}
    assert [job.data.params["run_name"] for job in jobs] == ["run", "run"]
    for number, job in enumerate(jobs):
        folder = tmp_path / "sweeps" / "run" / str(number)
        assert (folder / "policy").is_dir()
        kept = {item.path for item in client.list_artifacts(job.info.run_id)}
        (checkpoint,) = [path.name for path in folder.glob("round-*") if path.name in kept]
        assert {item.path for item in client.list_artifacts(job.info.run_id, checkpoint)} >= {
            f"{checkpoint}/manifest.json"
        }
        assert {"data", "policy", "tables", "config.yaml", "profile_round1.txt"} <= kept
        contexts = [(used.dataset.name, used.tags[0].value) for used in job.inputs.dataset_inputs]
        assert sorted(contexts) == [("toy", "training"), ("toy", "validation")]
        assert json.loads((folder / "data" / "training-toy.json").read_text())["profile"]["steps"] == 6
    versions = client.search_model_versions("name = 'toy'")
    assert {version.tags["run"] for version in versions} == {"run seed=1", "run seed=2"}
    assert all("reward_letters" in version.tags for version in versions)

    assert program("train", said).code == 0  # the same command again: nothing is left to do, and no run is added
    assert {run.info.run_id for run in runs().values()} == {run.info.run_id for run in found.values()}
    assert len(client.search_model_versions("name = 'toy'")) == 2
