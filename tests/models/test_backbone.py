"""Loading and saving: what goes out comes back bit for bit, and what is damaged says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tracer1.errors import CheckpointError, ConfigError
from tracer1.models.backbone import Backbone, load_backbone
from tracer1.models.encoder import PromptEncoder
from tracer1.models.tiny import make_tiny_planner, save_half
from tracer1.schema import Step


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


@pytest.fixture
def broken(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny planner's folder, to break."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "planner"))


def test_a_saved_planner_comes_back_exactly(tiny: Backbone, tiny_folder: Path, make_step: Callable[..., Step]):
    loaded = load_backbone(str(tiny_folder))
    ours, theirs = tiny.model.state_dict(), loaded.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (loaded.stop_ids, loaded.pad_id, loaded.architecture) == (tiny.stop_ids, tiny.pad_id, tiny.architecture)
    step = make_step("Type “日本語”, then go.", index=1, past=1)
    prompts = [PromptEncoder(backbone, horizon=5).encode(step) for backbone in (tiny, loaded)]
    assert prompts[0].token_ids == prompts[1].token_ids
    assert all(torch.equal(prompts[0].tensors[name], prompts[1].tensors[name]) for name in prompts[0].tensors)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_weights_are_loaded_in_the_asked_type(tiny: Backbone, tiny_folder: Path, dtype: str):
    loaded = load_backbone(str(tiny_folder), dtype)
    for name, value in tiny.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value.to(getattr(torch, dtype))), name


def test_half_the_size_is_every_weight_rounded_to_bfloat16(own_tiny: Backbone, tiny_folder: Path, tmp_path: Path):
    expected = {name: value.bfloat16().float() for name, value in own_tiny.model.state_dict().items()}
    save_half(own_tiny, tmp_path / "half")
    assert size_of(tmp_path / "half") == pytest.approx(size_of(tiny_folder) / 2, rel=0.01)
    loaded = load_backbone(str(tmp_path / "half")).model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_another_architecture_is_refused(tiny: Backbone):
    assert tiny.architecture.startswith("qwen3_vl: text 4 x 160, vision 4 x 96, vocabulary ")
    tiny.check_architecture(tiny.architecture)
    for found in ("qwen3_vl: text 36 x 4096", None):
        with pytest.raises(
            CheckpointError, match=r"belongs to another model .* Give the model\.path that the run began with"
        ):
            tiny.check_architecture(found)


def test_a_vocabulary_of_another_size_is_another_architecture(tiny: Backbone):
    other = make_tiny_planner(["Task: 0123456789"] * 2)
    assert other.architecture != tiny.architecture


# --- what cannot be loaded ---------------------------------------------------------------------------------------------


def refused(folder: Path, message: str, **settings: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_backbone(str(folder), **settings)


def test_a_folder_that_is_not_there(tmp_path: Path):
    refused(tmp_path / "policy", r"There is no folder .*policy, and it cannot be a hub's name; check model\.path\.")


def test_a_folder_without_a_model(tmp_path: Path):
    refused(tmp_path, r"holds no config\.json, so it is not a model's folder; check model\.path\.")


def test_a_model_of_another_kind(broken: Path):
    (broken / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    refused(broken, r"config\.json is of model_type 'qwen2_vl'; tracer1 trains Qwen3-VL \('qwen3_vl'\)")


def test_a_config_that_is_not_json(broken: Path):
    (broken / "config.json").write_text("{")
    refused(broken, r"config\.json is not JSON")


def test_an_unknown_dtype(broken: Path):
    refused(broken, r"model\.dtype='float16' is not known; choose one of float32, bfloat16, float64", dtype="float16")


def test_an_unknown_attention(broken: Path):
    refused(broken, r"Cannot load the model .*sdpaa", attention="sdpaa")


def test_no_weights(broken: Path):
    (broken / "model.safetensors").unlink()
    refused(broken, r"Cannot load the model .*no file named model\.safetensors.* Give model\.path a folder with")


def test_weights_that_were_cut_short(broken: Path):
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused(broken, r"Cannot load the model .* Give model\.path a folder with")


def test_missing_weights_are_never_made_up(broken: Path):
    tensors = load_file(broken / "model.safetensors")
    name = next(name for name in tensors if "visual.blocks.1" in name)
    del tensors[name]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    refused(broken, rf"lacks 1 of its weights \({name}, \.\.\.\)")


def test_weights_of_another_size(broken: Path):
    config = json.loads((broken / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 96
    (broken / "config.json").write_text(json.dumps(config))
    refused(broken, "Cannot load the model")


@pytest.mark.parametrize("missing", [["tokenizer.json"], ["tokenizer.json", "tokenizer_config.json"]])
def test_no_tokenizer(broken: Path, missing: list[str]):
    for name in missing:
        (broken / name).unlink()
    refused(broken, r"[Tt]okenizer")


def test_no_image_processor(broken: Path):
    (broken / "preprocessor_config.json").unlink()
    refused(broken, r"Cannot load the model .*image processor")


def test_without_generation_settings_the_tokenizers_end_token_stops(broken: Path, tiny: Backbone):
    (broken / "generation_config.json").unlink()
    assert load_backbone(str(broken)).stop_ids == {tiny.tokenizer.eos_token_id}
