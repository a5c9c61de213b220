"""A mistake on the command line: the nearest known name, in one line, before torch is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from tracer1.errors import ConfigError
from tracer1.training.overrides import CONF, check_command_line, check_overrides


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+experiment=demo_stge1", "There is no experiment 'demo_stge1'. Did you mean 'demo_stage1'?"),
        ("reward=stag2", "There is no reward 'stag2'. Did you mean 'stage2'?"),
        ("engine=transformer", "There is no engine 'transformer'. Did you mean 'transformers'?"),
        ("executor=drect", "There is no executor 'drect'. Did you mean 'direct'?"),
        ("model=qwen3_vl_7b", "There is no model 'qwen3_vl_7b'. Did you mean 'qwen3_vl_"),
        ("rewrd=stage1", "There is no setting 'rewrd'. Did you mean 'reward'?"),
        ("rouds=2", "There is no setting 'rouds'. Did you mean 'rounds'?"),
        ("data.horizn=2", "There is no setting 'data.horizn'. Did you mean 'data.horizon'?"),
        ("optimizer.learning_rate=1", "There is no setting 'optimizer.learning_rate'."),
        ("+algorithm.klcoef=1", "There is no setting 'algorithm.klcoef'. Did you mean 'algorithm.kl_coef'?"),
        ("+rouds=2", "There is no setting 'rouds'. Did you mean 'rounds'?"),
        ("experiment=demo_stage1", "The group 'experiment' is added with a plus: +experiment=..."),
        ("+reward=stage2", "The group 'reward' has a choice already: choose another without a plus, reward=..."),
        ("logger=null", "The group 'logger' cannot be null. Choose one of: mlflow, none."),
        ("executor=null", "The group 'executor' cannot be null. Choose one of: direct, "),
        ("+experiment=1", "The group 'experiment' cannot be 1. Choose one of: ablation_chain, "),
        ("~logger", "The group 'logger' was removed. Choose one of: mlflow, none."),
        ("rounds=abc", "rounds='abc' cannot work"),
        ("rounds=", "rounds='' cannot work"),
        ("rounds=-1", "rounds=-1 cannot work"),
        ("optimizer.lr=fast", "optimizer.lr='fast' cannot work"),
        ("optimizer.lr=-1", "optimizer.lr=-1 cannot work"),
        ("algorithm.group_size=1", "algorithm.group_size=1 cannot work"),
        ("checkpoint.keep=0", "checkpoint.keep=0 cannot work"),
        ("engine.prompts_per_batch=0", "engine.prompts_per_batch=0 cannot work"),
        ("run_name=[a", "The config cannot be read"),
        ("run_name=${nothing}", "The config cannot be read"),
    ],
)
def test_a_mistake_is_answered(override: str, said: str):
    with pytest.raises(ConfigError) as error:
        check_overrides("train", [override])
    assert str(error.value).startswith(said)


def test_settings_that_a_user_may_add():
    config = check_overrides(
        "train", ["+data.sets.mine.train=[a.tar]", "+reward.terms.mine.weight=1", "+trainer.max_time=x", "run_name=7"]
    )
    assert config["data"]["sets"]["mine"] == {"train": ["a.tar"]}


def test_configs_in_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "experiment").mkdir()
    mine = tmp_path / "experiment" / "mine.yaml"
    mine.write_text("# @package _global_\nrounds: 3\n")
    outputs = f"paths.outputs={tmp_path}/out"
    monkeypatch.setattr(sys, "argv", ["train.py", "--config-dir", str(tmp_path), "+experiment=mine", outputs])
    check_command_line("train")
    mine.write_text("# @package _global_\nround: 3\n")
    with pytest.raises(ConfigError, match=r"no setting 'round'. Did you mean 'rounds'"):
        check_command_line("train")


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["--help"], ["-m", "seed=1,2"]])
def test_other_uses_of_hydra_are_left_alone(arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    check_command_line("train")
    assert not list(tmp_path.iterdir())


def test_a_sweep_without_a_group(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "seed=1,2", "logger=null"])
    with pytest.raises(ConfigError, match=r"The group 'logger' cannot be null\. Choose one of: mlflow, none\."):
        check_command_line("train")


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["train.py", f"paths.outputs={tmp_path}/file"])
    with pytest.raises(ConfigError, match=r"cannot be made: Not a directory. Choose another paths.outputs"):
        check_command_line("train")


def test_no_torch_is_loaded_for_a_mistake():
    program = (
        "import sys\nsys.argv = ['train.py', 'rouds=1']\nfrom tracer1.training.entry import launch\n"
        "try:\n    launch(None, 'train')\nfinally:\n    assert not {'torch', 'lightning', 'transformers'} & sys.modules.keys()"
    )
    source = str(CONF.parent / "src")
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": source}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: There is no setting 'rouds'. Did you mean 'rounds'? See all of them with --cfg job.\n"
