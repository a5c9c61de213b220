"""A policy out of a checkpoint: the same logits in transformers, adapters apart or merged, and a card that says what it is."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toy_checkpoints import FakeTrainer, keeper
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

from tracer1.models.options import ModelOptions
from tracer1.models.policy import PolicyModule
from tracer1.training.checkpoints import Best

ROOT = Path(__file__).resolve().parents[2]
IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


@pytest.fixture(scope="module")
def export() -> Callable[..., int]:
    """`export("outputs/run", "policy", "--best")` -> the exit code of the tool, run in this process."""
    spec = importlib.util.spec_from_file_location("export_policy", ROOT / "tools" / "export_policy.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return lambda *arguments: tool.main([str(argument) for argument in arguments])


class ModuleTrainer(FakeTrainer):
    """Saves a module as Lightning does."""

    def __init__(self, module: PolicyModule) -> None:
        self.lightning_module = module

    def save_checkpoint(self, path: Path, weights_only: bool) -> None:
        checkpoint = {"state_dict": self.lightning_module.state_dict(), "callbacks": {}, "global_step": 3}
        self.lightning_module.on_save_checkpoint(checkpoint)
        path.mkdir()
        torch.save(checkpoint, path / "state.ckpt")


def moved(toy: Path, by: float, lora: dict | None = None) -> PolicyModule:
    """The toy planner with other weights."""
    group = {"path": str(toy / "planner"), "prompt": {"horizon": 2, "style": "brief"}, "lora": lora}
    module = PolicyModule(group["path"], prompt=group["prompt"], optimizer=None, options=ModelOptions.of(group))
    noise = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if lora is None or ".lora_" in name:
                parameter += by * torch.randn(parameter.shape, generator=noise)
    return module


def save(run: Path, module: PolicyModule, done: int, score: float, lora: dict | None = None) -> None:
    """A round of a run that keeps its best one."""
    base = module.backbone.model.name_or_path
    config = {
        "run_name": "toy_run",
        "seed": 4,
        "model": {"path": base, "reference": base, "prompt": {"horizon": 2, "style": "brief"}, "lora": lora},
        "reward": {"terms": {"letters": {"weight": 1.0}}},
        "data": {"sets": {"toy": {"train": ["toy.tar"], "weight": 2.0}}},
    }
    figures = {done: {"val/heldout/reward": score}}
    keeper(run, best=Best(1, "val/heldout/reward"), figures=figures, config=config).save(ModuleTrainer(module), done)


@pytest.fixture
def run(toy: Path, tmp_path: Path) -> Path:
    """Two checkpoints of a run: the first is the best."""
    for done, score in ((1, 0.9), (2, 0.25)):
        save(tmp_path / "run", moved(toy, 0.01 * done), done, score)
    return tmp_path / "run"


@torch.no_grad()
def logits(model: Qwen3VLForConditionalGeneration) -> Tensor:
    return model.eval()(input_ids=IDS).logits


def test_transformers_loads_what_was_trained(
    export: Callable[..., int], toy: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, arguments, by in (("last", [], 0.02), ("best", ["--best"], 0.01)):
        out = tmp_path / name
        assert export(run, out, *arguments) == 0
        model = Qwen3VLForConditionalGeneration.from_pretrained(out)
        assert torch.equal(logits(model), logits(moved(toy, by).model))
        assert AutoTokenizer.from_pretrained(out).eos_token_id is not None
    assert f"the policy of {run}/round-000001.ckpt (round 1)" in capsys.readouterr().out
    card = (tmp_path / "best" / "README.md").read_text()
    assert card.startswith(f"---\nbase_model: {toy}/planner\n")
    for said in (
        "# toy_run",
        "up to round 1",
        "| seed | 4 |",
        "| letters | weight 1.0 |",
        "| toy | weight 2.0 |",
        "To be filled in",
    ):
        assert said in card
    assert "| val/heldout/reward |  | 0.9 |" in card


def test_the_card_shows_the_runs_figures_up_to_its_round(export: Callable[..., int], run: Path, tmp_path: Path):
    lines = [{"round": done, "step": done, "val/heldout/reward": value} for done, value in enumerate((0.1, 0.9, 0.25))]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (run / "data").mkdir()
    facts = {"name": "toy", "context": "training", "digest": "abcdef", "profile": {"steps": 6}}
    (run / "data" / "training-toy.json").write_text(json.dumps(facts))
    assert export(str(run / "round-000001.ckpt"), str(tmp_path / "out")) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| val/heldout/reward | 0.1 | 0.9 |" in card
    assert "| toy | weight 2.0; 6 steps; digest abcdef |" in card


def test_adapters_alone_and_merged(export: Callable[..., int], toy: Path, tmp_path: Path):
    from peft import PeftModel

    lora = {"rank": 4, "alpha": 8.0}
    module = moved(toy, 0.1, lora)
    save(tmp_path / "run", module, 1, 0.5, lora)
    held = torch.load(tmp_path / "run" / "round-000001.ckpt" / "state.ckpt")["state_dict"]
    assert all(".lora_" in name for name in held)
    expected = logits(module.model)
    assert (expected - logits(moved(toy, 0.0).model)).abs().max() > 1e-2
    assert export(str(tmp_path / "run"), str(tmp_path / "adapters")) == 0
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"} <= {
        path.name for path in (tmp_path / "adapters").iterdir()
    }
    assert not (tmp_path / "adapters" / "model.safetensors").exists()
    base = Qwen3VLForConditionalGeneration.from_pretrained(toy / "planner")
    assert torch.allclose(logits(PeftModel.from_pretrained(base, tmp_path / "adapters")), expected, atol=1e-5)
    assert "library_name: peft" in (tmp_path / "adapters" / "README.md").read_text()
    assert export(str(tmp_path / "run"), str(tmp_path / "merged"), "--merge-lora") == 0
    merged = Qwen3VLForConditionalGeneration.from_pretrained(tmp_path / "merged")
    assert torch.allclose(logits(merged), expected, atol=1e-5)


@pytest.fixture
def said(export: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the tool says of a mistake, in one line."""

    def run(*arguments: object) -> str:
        capsys.readouterr()  # what the test itself has loaded before
        assert export(*arguments) == 2
        [line] = capsys.readouterr().err.splitlines()
        return line.removeprefix("error: ")

    return run


def test_mistakes_are_answered_with_one_line(toy: Path, run: Path, tmp_path: Path, said: Callable[..., str]):
    out = tmp_path / "out"
    assert f"{run} is there already" in said(run, run)
    assert "There is no checkpoint" in said(run / "round-000009.ckpt", out)
    assert "holds no checkpoint to go on from" in said(tmp_path, out)
    assert "There is no folder" in said(run, out, "--model", tmp_path / "moved")
    (run / "round-000001.ckpt" / "state.ckpt").write_bytes(b"")
    assert "state.ckpt has 0 of" in said(run / "round-000001.ckpt", out)
    other = moved(toy, 0.0)
    shutil.rmtree(run)
    save(run, other, 1, 0.5, {"rank": 4, "alpha": 8.0})  # says that it has adapters, and has none
    assert "belongs to another model" in said(run, out)
    assert not out.exists()
