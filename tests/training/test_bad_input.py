"""Bad input through the real entry points: exactly one line on stderr, exit code 2, and the run's folder as it was."""

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import toy_run
from toy_run import make_toy_planner, toy_overrides, train_apart

pytestmark = pytest.mark.usefixtures("one_thread")


def own_shards(toy: Path, folder: Path) -> list[Path]:
    """A copy of the training shards that a test may break."""
    return [Path(shutil.copy(path, folder)) for path in sorted(toy.glob("toy*-train-*.tar"))]


def use(shards: list[Path]) -> str:
    return f"data.sets.toy.train=[{','.join(map(str, shards))}]"


def rewrite(shard: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Passes every member of a shard through `change(name, content)`."""
    with tarfile.open(shard) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]
    with tarfile.open(shard, "w") as tar:
        for info, content in members:
            content = change(info.name, content)
            info.size = len(content)
            tar.addfile(info, BytesIO(content))


def test_a_truncated_shard_is_named_with_the_last_whole_step(train, toy: Path, tmp_path: Path):
    shards = own_shards(toy, tmp_path)
    for shard in shards:
        shard.write_bytes(shard.read_bytes()[:35_000])
    said = train(use(shards)).error
    assert any(str(shard) in said for shard in shards)
    assert "the shard is cut off or damaged after step 'toy-" in said
    assert "Fetch it again" in said


def test_a_step_that_breaks_the_schema(train, toy: Path, tmp_path: Path):
    shards = own_shards(toy, tmp_path)

    def no_place(name: str, content: bytes) -> bytes:
        if name != "toy-1_1-001.json":
            return content
        return json.dumps({**json.loads(content), "index": "one"}).encode()

    rewrite(shards[1], no_place)
    assert f"{shards[1]}: step 'toy-1_1-001' breaks step.schema.json at index" in train(use(shards)).error


@pytest.mark.parametrize("verify", [True, False])
def test_an_image_that_does_not_decode(train, toy: Path, tmp_path: Path, verify: bool):
    """Checked while loading, or else when the prompt is made."""
    shards = own_shards(toy, tmp_path)
    rewrite(shards[0], lambda name, content: b"\x89PNG\r\n\x1a\nnothing" if name == "toy-0_1-000.png" else content)
    said = train(use(shards), f"data.verify_images={verify}").error
    assert "'toy-0_1-000'" in said
    assert "screenshot does not decode" in said


def test_a_set_without_shards(train, tmp_path: Path):
    assert f"No shard matches {tmp_path}/none/*.tar" in train(f"data.sets.toy.train=[{tmp_path}/none/*.tar]").error


def test_unknown_names_are_answered_with_the_nearest(train):
    assert "No engine 'tranformers'. Did you mean 'transformers'?" in train("engine.name=tranformers").error
    assert "No executor 'dirct'. Did you mean 'direct'?" in train("executor.name=dirct").error
    assert "No reward 'lettrs'. Did you mean 'letters'?" in train("+reward.terms.lettrs.weight=1").error


def test_unknown_settings_of_what_is_built_by_name(train):
    assert "engine 'transformers' has no setting 'prompt_per_batch'. Did you mean 'prompts_per_batch'?" in (
        train("+engine.prompt_per_batch=4").error
    )
    assert "executor 'direct' has no setting 'port'" in train("executor=direct", "+executor.port=4").error
    assert (
        "reward.terms.format has no setting 'wieght'. Did you mean 'weight'?"
        in train("+reward.terms.format.wieght=4").error
    )


def test_settings_that_a_library_refuses(train, tmp_path: Path):
    assert "trainer cannot be made from these settings" in train("+trainer.max_step=4").error
    assert "trainer cannot be made from these settings" in train("trainer.precision=7").error
    assert "optimizer cannot be made from these settings" in train("+optimizer.momentum=4").error
    assert "optimizer cannot be made from these settings" in train("optimizer.betas=[2,0.9]").error
    assert "is a folder, a store that MLflow has deprecated" in train(f"logger.tracking_uri={tmp_path}/mlruns").error


def test_a_round_that_does_not_divide(train):
    assert "algorithm.prompts_per_round by algorithm.prompts_per_update: 4 is not divisible by 3" in (
        train("algorithm.prompts_per_update=3").error
    )


def test_a_plugin_that_is_not_there(train):
    assert "The plugin 'toy_rnu' cannot be imported" in train("plugins=[toy_rnu]").error


@pytest.mark.parametrize("name", ["train", "eval"])
def test_a_model_that_is_not_there(program, toy: Path, tmp_path: Path, name: str):
    arguments = [f"model.path={tmp_path}/none", f"paths.outputs={tmp_path}/out"]
    if name == "train":
        arguments = toy_overrides(toy, tmp_path, *arguments)
    said = program(name, arguments).error
    assert f"{tmp_path}/none" in said
    assert "model.path" in said


def test_every_prompt_is_too_long(train):
    said = train("model.prompt.max_prompt_tokens=5", "data.sets.toy.val=null").error
    assert "prompts had more than 5 tokens, next to none had fewer. Raise model.prompt.max_prompt_tokens" in said


def test_a_training_that_diverges(train):
    """Weights of 10^20 give gradients that are not finite, and soon logits that nothing can be drawn from."""
    assert "not finite" in train("optimizer.lr=1e20", "algorithm.max_skipped_updates=1").error


def test_a_folder_that_holds_a_run(train, toy: Path, tmp_path: Path):
    """Asked before it is overwritten; and its checkpoints fit no other model."""
    run = tmp_path / "run"
    assert train("rounds=1").code == 0
    held = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != "train.log"}
    said = train("rounds=1").error
    assert f"{run} holds a run up to round-000001. Go on with ckpt_path=last" in said
    assert "overwrite=true" in said
    other = make_toy_planner(tmp_path / "other", width=192)
    said = train("rounds=2", "ckpt_path=last", f"model.path={other}").error
    assert "The checkpoint belongs to another model (qwen3_vl: text 2 x 96" in said
    said = train("rounds=2", f"ckpt_path={run}/round-000007.ckpt").error
    assert f"There is no checkpoint {run}/round-000007.ckpt. In the run's folder: ['round-000001.ckpt']" in said
    assert {name: (run / name).read_bytes() for name in held} == held
    os.truncate(run / "round-000001.ckpt" / "state.ckpt", 100_000)
    said = train("rounds=3", f"ckpt_path={run}/round-000001.ckpt").error
    assert f"{run}/round-000001.ckpt is not a whole checkpoint: state.ckpt has 100000 of " in said
    assert "Give an earlier one as ckpt_path" in said
    assert f"{run} holds no whole checkpoint" in train("rounds=3", "ckpt_path=last").error
    said = train("rounds=1", "overwrite=true", "checkpoint.keep_best=1", "checkpoint.best_by=val/heldout/rewards").error
    assert (
        "checkpoint.best_by=val/heldout/rewards is no figure of the validation. Did you mean 'val/heldout/reward'?"
        in said
    )
    assert train("rounds=1", "overwrite=true").code == 0
    assert [path.name for path in run.glob("*.ckpt")] == ["round-000001.ckpt"]
    assert len(list(run.glob("metrics-*.jsonl"))) == 2  # the first run's figures are kept


def test_nothing_to_go_on_from(train, tmp_path: Path):
    assert f"{tmp_path}/run holds no checkpoint to go on from" in train("ckpt_path=last").error


def test_a_process_of_its_own_says_one_line(toy: Path, tmp_path: Path):
    shards = own_shards(toy, tmp_path)
    for shard in shards:
        shard.write_bytes(shard.read_bytes()[:35_000])
    done = train_apart(toy_overrides(toy, tmp_path, use(shards)))
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if not line.startswith(("INFO", "WARNING"))]
    assert line.startswith(f"error: {tmp_path}/toy")


def test_the_toy_run_is_what_the_tests_think(toy: Path):
    assert sorted(path.name for path in toy.glob("*.tar")) == [
        "toy-val-000000.tar",
        "toy0-train-000000.tar",
        "toy1-train-000000.tar",
    ]
    assert toy_run.ROUND_STEPS == 4
