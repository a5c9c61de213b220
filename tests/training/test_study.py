"""Studies: what a job consists of, what is shared, what is not done twice, what is found out before anything is trained."""

import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tracer1.errors import ConfigError
from tracer1.tracking.studies import StudyStore
from tracer1.training.commands import CommandFailed
from tracer1.training.dry_run import rehearse
from tracer1.training.entry import launch
from tracer1.training.overrides import CONF, check_overrides
from tracer1.training.study import job as jobs
from tracer1.training.study import run_job
from tracer1.training.study.plan import Study

ABLATIONS = sorted(path.stem for path in (CONF / "experiment").glob("ablation_*.yaml"))
TRAINED = {
    "chain": ["stage1", "stage2", "stage3"],
    "stage2": ["stage1", "stage2"],
    "executor": ["stage1", "stage2"],
}  # study -> stages
HELDOUT = (
    "step_success",
    "click_accuracy",
    "type_match",
    "trajectory_reward",
    "plan_length",
    "repeating",
    "repeating_more",
)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What a study calls; a training makes a policy, an evaluation a report."""
    made: list[tuple[str, ...]] = []

    def call(script: str, overrides: Sequence[str], held: object) -> None:
        made.append((script, *overrides))
        given = dict(text.split("=", 1) for text in overrides if "=" in text)
        folder = Path(given["paths.outputs"]) / given["run_name"]
        if script == "train.py":
            (folder / "policy").mkdir(parents=True)
        else:
            folder.mkdir()
            played = {
                "val/miniwob/raw_reward_1.success": {"value": 0.25},
                "val/miniwob/x": {"value": None},
            }
            flat = {f"val/heldout/{metric}": 0.5 for metric in HELDOUT}
            Path(given["report"]).write_text(json.dumps({"figures": played} if "+benchmark" in given else flat))

    monkeypatch.setattr(jobs, "call", call)
    return made


@pytest.fixture(scope="module", autouse=True)
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One for all tests, each with an experiment of its own: a fresh one takes seconds."""
    URI.append(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
    return URI[-1]


URI: list[str] = []


def places(tmp_path: Path) -> list[str]:
    return [f"paths.outputs={tmp_path}", f"logger.tracking_uri={URI[-1]}", f"logger.experiment={tmp_path.name}"]


def config_of(experiment: str, tmp_path: Path, *more: str) -> dict[str, Any]:
    return check_overrides("train", [f"+experiment={experiment}", *places(tmp_path), *more])


def run(experiment: str, tmp_path: Path, *more: str) -> dict[str, float]:
    return run_job(config_of(experiment, tmp_path, *more), list(more))


def store(tmp_path: Path) -> StudyStore:
    return StudyStore(URI[-1], tmp_path.name)


def trained(calls: Sequence[tuple[str, ...]]) -> list[str]:
    """The runs of the trainings that were called."""
    names = [next(text for text in call if text.startswith("run_name=")) for call in calls if call[0] == "train.py"]
    return [name.removeprefix("run_name=") for name in names]


@pytest.mark.parametrize("experiment", ABLATIONS)
def test_every_ablation_has_its_values_on_at_least_three_seeds(experiment: str, tmp_path: Path):
    def composed(*more: str) -> Any:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", [f"+experiment={experiment}", *more], return_hydra_config=True)

    config = composed()
    assert config.hydra.mode.name == "MULTIRUN"
    assert len(config.hydra.sweeper.params.seed.split(",")) >= 3
    assert config.run_name == experiment == f"ablation_{config.study.name}"
    params = config.hydra.sweeper.params
    swept = [name for name in ("study.value", "study.until") if "," in params.get(name, "")]
    assert len(swept) == 1  # a study that inherits from another one sweeps over nothing of its parent's
    values = config.hydra.sweeper.params[swept[0]].split(",")
    groups = {value: composed(f"{swept[0]}={value}").study for value in values}
    studies = {value: Study.of(OmegaConf.to_container(group, resolve=True)) for value, group in groups.items()}
    assert [study.value for study in studies.values()] == list(studies)
    assert len({(str(study.chain), study.until) for study in studies.values()}) == len(
        studies
    )  # each makes a difference
    *_, last = studies.values()
    assert [piece.name for piece in last.stages(1, tmp_path)] == TRAINED.get(config.study.name, ["taught", "stage1"])
    assert {side for claim in last.expect for side in claim.partition(":")[0].split(" > ")} <= studies.keys()
    scored = [piece.name for piece in last.scored(last.stages(1, tmp_path), 1, tmp_path)]  # they compose
    alone = config.study.name in ("gamma", "repetition")  # differences that 128 played episodes cannot tell
    assert scored == (["heldout"] if alone else ["heldout", "played"])


def test_a_chain_is_what_a_user_would_type_and_each_stage_starts_from_the_one_before(calls: list, tmp_path: Path):
    figures = run("ablation_chain", tmp_path, "seed=4")
    assert [call[:2] for call in calls] == [
        ("train.py", "+experiment=demo_stage1"),
        ("train.py", "+experiment=demo_stage2"),
        ("eval.py", "+experiment=demo_eval"),
        ("eval.py", "+benchmark=miniwob"),
    ]
    assert all("seed=4" in call and f"paths.outputs={tmp_path}/studies" in call for call in calls)
    assert {*places(tmp_path)[1:]} <= {*calls[0]}
    first, second = (tmp_path / "studies" / name / "policy" for name in trained(calls))
    begun = [next(text for text in call if text.startswith("model.path=")) for call in calls]
    assert begun[0].endswith("demo/tiny_planner")
    assert begun[1:] == [f"model.path={first}", f"model.path={second}", f"model.path={second}"]
    assert figures["val/miniwob/raw_reward_1.success"] == 0.25
    assert figures["val/heldout/step_success"] == 0.5
    assert "val/miniwob/x" not in figures  # nothing counted


def test_what_is_finished_is_not_done_again_and_logged_once(calls: list, tmp_path: Path):
    run("ablation_chain", tmp_path)
    run("ablation_chain", tmp_path)
    assert len(calls) == 4
    [only] = store(tmp_path).read("chain").jobs
    assert (only.value, only.seed) == ("stage2", 1)


def test_what_studies_share_is_trained_once(calls: list, tmp_path: Path):
    run("ablation_stage2", tmp_path, "study.until=stage2")
    run("ablation_chain", tmp_path, "study.until=stage1")
    assert len(trained(calls)) == 2
    run("ablation_gamma", tmp_path, "study.value=0.8")
    run("ablation_repetition", tmp_path, "study.value=trajectory_on")
    assert len(trained(calls)) == 4
    run("ablation_repetition", tmp_path, "study.value=eq12_off")
    names = trained(calls)
    assert len(names) == len(set(names)) == 5
    assert sum(name.startswith("taught-") for name in names) == 1
    assert store(tmp_path).names() == ["chain", "gamma", "repetition", "stage2"]


def test_nothing_is_shared_between_seeds_and_with_another_beginning(tmp_path: Path):
    study = Study.of(config_of("ablation_chain", tmp_path, "study.until=stage1")["study"])
    [first], [second] = (study.stages(seed, tmp_path) for seed in (1, 2))
    other = tmp_path / "planner"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"other weights")
    [third] = replace(study, start=str(other)).stages(1, tmp_path)
    assert len({first.key, second.key, third.key}) == 3


def test_none_of_the_chain_is_the_policy_that_ships(calls: list, tmp_path: Path):
    run("ablation_chain", tmp_path, "study.until=start")
    assert [call[0] for call in calls] == ["eval.py", "eval.py"]


def test_a_half_finished_stage_goes_on_from_its_checkpoint(calls: list, tmp_path: Path):
    study = Study.of(config_of("ablation_chain", tmp_path)["study"])
    first, _ = study.stages(1, tmp_path / "studies")
    first.folder.mkdir(parents=True)
    (first.folder / "round-000005.ckpt").touch()
    run("ablation_chain", tmp_path)
    assert ["ckpt_path=last" in call for call in calls] == [True, False, False, False]


def test_two_studies_side_by_side_share_a_stage(calls: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    at_it, go_on, call = threading.Event(), threading.Event(), jobs.call

    def slowly(script: str, overrides: Sequence[str], held: object) -> None:
        at_it.set()
        assert go_on.wait(20)
        call(script, overrides, held)

    [stage, _] = Study.of(config_of("ablation_chain", tmp_path)["study"]).stages(1, tmp_path)
    monkeypatch.setattr(jobs, "call", slowly)
    both = [threading.Thread(target=jobs.run_piece, args=(stage, [])) for _ in range(2)]
    both[0].start()
    assert at_it.wait(20)
    both[1].start()
    time.sleep(0.05)
    go_on.set()
    for thread in both:
        thread.join(20)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["study.chain.stage1=['+experiment=demo_stag1']"], "no experiment 'demo_stag1'. Did you mean 'demo_stage1'"),
        (["study.chain.stage2=['+experiment=demo_stage2','optimizr.lr=1']"], "Did you mean 'optimizer.lr'"),
        (["study.evaluations.played=['+benchmark=miniwob_traind']"], "Did you mean 'miniwob_trained'"),
        (["study.until=stage4"], "study.until=stage4 is no stage"),
        (["study.start=nowhere"], "study.start=nowhere holds no policy"),
        (["+study.vlaue=3"], "A study has no setting 'vlaue'. Did you mean 'value'"),
        (["study.name=null"], "study.name is not set"),
        (["study.chain.stage1=demo_stage1"], "are a list of texts"),
        (["logger=none"], "A study keeps its figures in MLflow: leave logger=none out"),
        (["rounds=3"], "rounds=3 would reach none of the study's trainings"),
    ],
)
def test_a_mistake_is_found_before_anything_is_trained(more: list[str], said: str, calls: list, tmp_path: Path):
    with pytest.raises(ConfigError) as error:
        run("ablation_chain", tmp_path, *more)
    assert said in str(error.value)
    assert calls == []


def test_no_study_at_all(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"\+experiment=ablation_"):
        run_job(check_overrides("train", ["recipe=study"]), [])


def test_a_metric_that_no_evaluation_gives_is_named(calls: list, tmp_path: Path):
    with pytest.raises(ConfigError, match="names 'val/heldout/x', which no evaluation gave"):
        run("ablation_chain", tmp_path, "study.metrics=[val/heldout/x]")


def test_a_dry_run_is_about_one_training(tmp_path: Path):
    with pytest.raises(ConfigError, match="rehearse a stage"):
        rehearse(config_of("ablation_chain", tmp_path, "dry_run=true"))


def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *more: str) -> int:
    """What `train.py +experiment=ablation_stage2` ends with."""
    arguments = ["+experiment=ablation_stage2", *places(tmp_path), *more]
    monkeypatch.setattr(sys, "argv", [str(CONF.parent / "src" / "tracer1" / "train.py"), *arguments])
    try:
        launch(lambda config: pytest.fail("a training began"), "train", study=run_job)
    except SystemExit as stop:
        return stop.code
    return 0


def test_the_plain_command_runs_the_whole_sweep(calls: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert sweep(monkeypatch, tmp_path, "seed=1,2") == 0  # the command line has the last word, and the rest stays
    found = {(job.value, job.seed) for job in store(tmp_path).read("stage2").jobs}
    assert found == {(value, seed) for value in ("stage1", "stage2") for seed in (1, 2)}
    assert len(trained(calls)) == 4  # stage 1 is shared by both values


def test_ctrl_c_and_a_failed_command_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for error, code, said in (
        (KeyboardInterrupt(), 130, "Run the same command again"),
        (CommandFailed("train.py ended with code 2; run the study again"), 2, "ended with code 2"),
    ):
        asked = []

        def call(
            script: str, overrides: Sequence[str], held: object, error: BaseException = error, asked: list = asked
        ) -> None:
            asked.append(script)
            raise error

        monkeypatch.setattr(jobs, "call", call)
        assert sweep(monkeypatch, tmp_path) == code
        assert said in capsys.readouterr().err
        assert len(asked) == 1
