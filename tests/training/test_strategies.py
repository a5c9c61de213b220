"""Two ranks under every strategy do what one process does, whatever is spread over them, and no rank waits for another in vain."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import load_file
from toy_run import ROOT, environment
from toy_strategies import an_update, in_small_portions, looks, make_policy

from tracer1.errors import ConfigError
from tracer1.models import head, sharding
from tracer1.models.batch import ResponseBatch
from tracer1.models.options import LoRA
from tracer1.training.overrides import check_overrides
from tracer1.training.strategies import ShardedStrategy, ZeroStrategy, keep_inputs

NAMES = ("ddp", "zero1", "zero2", "zero3", "fsdp2")
CLOSE = 1e-6  # of float32: gradients are added up in another order
LIMIT_S = 600  # all strategies, on a machine that is busy with other things


@pytest.fixture(scope="module")
def ranks(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """Where two ranks wrote, and by strategy what each of them found; see `toy_strategies.main`."""
    folder = tmp_path_factory.mktemp("strategies")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **environment(),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "DS_ACCELERATOR": "cpu",
        "TORCHDYNAMO_DISABLE": "1",  # DeepSpeed compiles an optimizer at its import that nobody asks for
    }
    program = [sys.executable, str(Path(__file__).with_name("toy_strategies.py"))]
    logs = [folder / f"log{rank}" for rank in range(2)]
    processes = []
    for rank, path in enumerate(logs):
        with path.open("w") as log:
            command = [*program, str(folder), str(toy / "planner"), *NAMES]
            env = {**shared, "LOCAL_RANK": str(rank)}
            processes.append(subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(timeout=LIMIT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], "\n".join(path.read_text()[-3000:] for path in logs)
    return folder, {
        name: [torch.load(folder / f"{name}.{r}.pt", weights_only=False) for r in range(2)] for name in NAMES
    }


@pytest.fixture(scope="module")
def alone(toy: Path, one_thread: None) -> dict[str, Any]:
    """The same in one process, without a strategy."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(sharding, "BUCKET_BYTES", sharding.BUCKET_BYTES)
    monkeypatch.setattr(head, "LOGITS_AT_A_TIME", head.LOGITS_AT_A_TIME)
    in_small_portions()
    planner = toy / "planner"
    found = {
        "seen": an_update("ddp", planner, (0, 1), blind=False),
        "blind": an_update("ddp", planner, (0, 1), blind=True),
        "adapters": an_update("ddp", planner, (0, 1), blind=False, lora=LoRA(4, 8.0)),
        "looks": [looks(make_policy(planner), rank) for rank in range(2)],
        "start": load_file(planner / "model.safetensors"),
    }
    monkeypatch.undo()
    return found


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest difference."""
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("which", ["seen", "blind"])
@pytest.mark.parametrize("name", NAMES)
def test_an_update_on_two_ranks_is_the_one_of_one_process(ranks, alone, name: str, which: str):
    """`blind`: the second rank has no picture in any of its prompts, and no response at all in its last group."""
    one, start = alone[which], alone["start"]
    assert apart(one["weights"], start) > 100 * CLOSE
    for found in ranks[1][name]:
        assert apart(found[which]["weights"], one["weights"]) < CLOSE
        assert found[which]["norm"] == pytest.approx(one["norm"], rel=1e-4)
        assert found[which]["figures"] == pytest.approx(one["figures"], rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_both_ranks_hold_the_same_weights_bit_for_bit(ranks, name: str):
    first, second = ranks[1][name]
    assert apart(first["seen"]["weights"], second["seen"]["weights"]) == 0


@pytest.mark.parametrize("name", ["zero3", "fsdp2"])
def test_adapters_beside_frozen_weights_are_spread_too(ranks, alone, name: str):
    """What the engine gets are whole weights with whole adapters merged in."""
    one = alone["adapters"]
    assert apart(one["weights"], alone["start"]) > 10 * CLOSE
    for found in ranks[1][name]:
        assert apart(found["adapters"]["weights"], one["weights"]) < CLOSE
        assert found["adapters"]["norm"] == pytest.approx(one["norm"], rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_in_bfloat16_the_gradient_is_about_the_same(ranks, alone, name: str):
    first, second = (found["rounded"] for found in ranks[1][name])
    assert first["norm"] == second["norm"] == pytest.approx(alone["seen"]["norm"], rel=0.1)
    assert apart(first["weights"], second["weights"]) == 0
    assert {weight.dtype for weight in first["weights"].values()} == {torch.bfloat16}


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_number_on_one_rank_skips_the_update_on_all(ranks, name: str):
    for found in ranks[1][name]:
        first, second, third = found["bad"]["seen"]
        assert found["bad"]["skipped"] == 1
        assert apart(first, second) == 0
        assert 100 * CLOSE < apart(second, third) < float("inf")
        assert 0 < found["bad"]["norm"] < float("inf")


@pytest.mark.parametrize("name", NAMES)
def test_what_an_engine_gets_are_exactly_the_weights(ranks, alone, name: str):
    """In many buckets, on every rank; and the exported policy is the planner that the training began with."""
    folder, found = ranks
    for rank in range(2):
        held = found[name][rank]["round"]["weights"]
        assert apart(held, alone["start"]) == 0
    assert apart(load_file(folder / f"{name}-policy" / "model.safetensors"), alone["start"]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_ranks_sample_and_score_different_things(ranks, alone, name: str):
    """The engine in the training process has the weights whole, or one rank's sampling would be another's business."""
    for rank, found in enumerate(ranks[1][name]):
        expected = alone["looks"][rank]
        assert [r.token_ids for r in found["round"]["responses"]] == [r.token_ids for r in expected["responses"]]
        torch.testing.assert_close(found["round"]["logprobs"], expected["logprobs"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["single", "ddp", "zero1", "zero2", "zero3", "zero3_offload", "fsdp2"])
def test_every_strategy_of_the_config_is_made(name: str):
    made = check_overrides("train", [f"strategy={name}"])["trainer"]["strategy"]
    made = made if isinstance(made, str) else instantiate(made)
    if name.startswith("zero"):
        zero = made.config["zero_optimization"]
        assert zero["stage"] == int(name[4])
        assert ("offload_param" in zero) == ("offload_optimizer" in zero) == name.endswith("offload")
    elif name == "fsdp2":
        assert isinstance(made, ShardedStrategy)
    else:
        assert made == {"single": "auto"}.get(name, name)


def test_weights_are_never_cast_without_a_word():
    strategy = ZeroStrategy(2)
    strategy.model = torch.nn.Linear(1, 1).bfloat16()
    with pytest.raises(ConfigError, match=r"float32 at trainer.precision=32-true, and model.dtype is bfloat16"):
        strategy.setup(SimpleNamespace(precision="32-true"))


def test_batches_are_not_rounded():
    trainer = keep_inputs(L.Trainer(accelerator="cpu", precision="bf16-true", logger=False, enable_checkpointing=False))
    batch = ResponseBatch.collate([(1, 2)], 0)
    assert trainer.precision_plugin.convert_input(batch).mask.dtype == torch.float32


def test_what_runs_inside_a_module_is_surrounded_by_its_hooks():
    module, told = torch.nn.Linear(1, 1), []
    module.register_forward_pre_hook(lambda *_: told.append("before"))
    module.register_forward_hook(lambda *_: told.append("after"))
    for run in (lambda x: told.append("run"), lambda x: 1 / 0, lambda x: told.append("again")):
        with contextlib.suppress(ZeroDivisionError):
            sharding.inside(module, run, torch.ones(1))
    assert told == ["before", "run", "after", "before", "before", "again", "after"]
    assert module(torch.ones(1)).shape == (1,)
