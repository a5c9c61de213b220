"""Wiring: parts by name, both stages and the warm start from the command line to an exported policy."""

import shutil
from pathlib import Path

import pytest
from toy_run import toy_overrides

from tracer1.engines import ENGINES
from tracer1.errors import ConfigError, UnknownName
from tracer1.executors import EXECUTORS
from tracer1.tracking.journal import RunRecord, read_metrics
from tracer1.training.recipes import build


def test_parts_are_built_by_name_with_their_settings():
    assert build(ENGINES, {"name": "transformers", "prompts_per_batch": 7}).prompts_per_batch == 7
    assert build(EXECUTORS, {"name": None}) is None
    with pytest.raises(UnknownName, match="Did you mean 'direct'"):
        build(EXECUTORS, {"name": "dirct"})
    with pytest.raises(ConfigError, match="Did you mean 'prompts_per_batch'"):
        build(ENGINES, {"name": "transformers", "prompts_per_bach": 7})


def test_stage_2_executes_and_scores_what_came_of_it(train, tmp_path: Path):
    """The same program with an executor and another reward; no plan of a random planner can be executed."""
    stage2 = ("reward=stage2", "executor=direct", "rounds=1")
    assert train(*stage2).code == 0
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    [round_] = [line for line in lines if "reward/total" in line]
    assert round_["reward/coordinate_match"] == 0.0
    assert round_["time/executing_s"] > 0
    assert {"model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"} <= {
        path.name for path in (tmp_path / "run" / "policy").iterdir()
    }


def test_a_training_without_mlflow_has_its_figures_and_goes_on(train, tmp_path: Path):
    """On a cluster, too, whose config says where MLflow would be."""
    run, store = tmp_path / "run", tmp_path / "mlflow.db"
    alone = ("logger=none", "+cluster=nodes", "trainer.devices=1", f"logger.tracking_uri=sqlite:///{store}")
    assert train(*alone, "rounds=1").code == 0
    assert train(*alone, "rounds=2").code == 0
    rounds = [line["round"] for line in read_metrics(run / "metrics.jsonl") if "reward/total" in line]
    assert rounds == [1, 2]
    assert (run / "tables").is_dir()
    assert (run / "config.yaml").is_file()
    record = RunRecord.load(run / "run.json")
    assert (record.run_id, record.tracking_uri) == (None, "")
    assert not store.exists()


def test_the_policy_of_a_stage_is_where_the_next_begins(program, toy: Path, tmp_path: Path, train):
    assert train("rounds=1", "evaluation.every=1").code == 0
    policy = tmp_path / "run" / "policy"
    after = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["val/heldout/reward"]
    report = tmp_path / "report.json"
    shards = [f"+data.sets.toy.val=[{toy}/toy-val-*.tar]", "~data.sets.miniwob", "data.horizon=2"]
    arguments = [f"model.path={policy}", *shards, "plugins=[toy_run]", "+reward.terms.letters.weight=1.0"]
    done = program(
        "eval", [*arguments, "evaluation.sampling.max_tokens=10", f"paths.outputs={tmp_path}", f"report={report}"]
    )
    assert done.code == 0, done.stderr
    assert f'"val/heldout/reward": {after}' in report.read_text()


def test_a_warm_start_learns_and_resumes(program, toy: Path, tmp_path: Path):
    """Interrupted by deleting its last checkpoint, it ends with the same weights."""
    arguments = toy_overrides(
        toy,
        tmp_path,
        "+experiment=warmstart",
        f"model.path={toy}/planner",
        "run_name=run",
        "data.horizon=2",
        "warmstart.updates=12",
        "warmstart.updates_per_round=4",
        "warmstart.batch_size=3",
        "warmstart.warmup=2",
        "checkpoint.every=1",
    )
    assert program("train", arguments).code == 0
    run = tmp_path / "run"
    losses = [line["sft/loss"] for line in read_metrics(run / "metrics.jsonl") if "sft/loss" in line]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    weights = (run / "policy" / "model.safetensors").read_bytes()
    (run / "policy" / "model.safetensors").unlink()
    shutil.rmtree(run / "round-000003.ckpt")
    assert program("train", [*arguments, "ckpt_path=last"]).code == 0
    assert (run / "policy" / "model.safetensors").read_bytes() == weights
    said = program("train", [*arguments, "recipe=grpo", "ckpt_path=last"]).error
    assert "written by another recipe" in said
