"""LoRA: begins as the identity, trains only adapters, is its own reference when switched off, and merges exactly."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from tracer1.errors import CheckpointError, ConfigError
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.options import LoRA, ModelOptions
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import AdapterReference, make_reference


def build(folder: Path, rank: int | None = 4) -> PolicyModule:
    return PolicyModule(
        str(folder),
        prompt={"horizon": 5, "style": "brief"},
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        options=ModelOptions(lora=None if rank is None else LoRA(rank, 8.0)),
    )


@pytest.fixture
def batch(tiny, prompts, some_responses) -> tuple[PromptBatch, ResponseBatch]:
    prompt = PromptBatch.collate([prompts["seen"]], tiny.pad_id, tiny.rope_index)
    return prompt, ResponseBatch.collate(some_responses([4, 2]), tiny.pad_id)


@pytest.fixture
def trained(tiny_folder: Path) -> PolicyModule:
    """A policy whose adapters have moved."""
    policy = build(tiny_folder)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return policy


def test_it_begins_as_the_model_and_only_adapters_are_trained(tiny_folder: Path, batch):
    policy = build(tiny_folder)
    assert torch.equal(policy.logprobs(*batch), build(tiny_folder, None).logprobs(*batch))
    names = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
    assert len(names) == 2 * 7 * policy.model.config.text_config.num_hidden_layers
    assert all(".lora_" in name and ".language_model." in name for name in names)
    assert policy.tower_is_frozen
    assert sum(len(group["params"]) for group in policy.configure_optimizers().param_groups) == len(names)


def test_switched_off_it_is_the_reference(tiny_folder: Path, trained: PolicyModule, batch):
    reference = make_reference(trained, str(tiny_folder))
    assert isinstance(reference, AdapterReference)
    moved = trained.logprobs(*batch)
    with reference.awake(trained.device):
        assert torch.equal(reference.logprobs(*batch), build(tiny_folder, None).logprobs(*batch))
    assert torch.equal(trained.logprobs(*batch), moved)  # and on again
    assert (moved - reference.logprobs(*batch)).abs().max() > 1e-3
    assert all(p.requires_grad for name, p in trained.named_parameters() if ".lora_" in name)


def test_the_export_and_the_engines_get_merged_weights(trained: PolicyModule, batch, tmp_path: Path):
    trained.export(tmp_path / "policy")
    merged = build(tmp_path / "policy", None)
    assert_close(merged.logprobs(*batch), trained.logprobs(*batch), atol=1e-5, rtol=0)
    weights = dict(trained.weights())
    assert weights.keys() == {name.removeprefix("model.") for name, _ in merged.named_parameters()}
    for name, parameter in merged.model.named_parameters():
        assert torch.equal(parameter, weights[name])


def test_a_checkpoint_holds_the_adapters_alone(tiny_folder: Path, trained: PolicyModule, batch):
    checkpoint = {"state_dict": trained.state_dict()}
    trained.on_save_checkpoint(checkpoint)
    assert all(".lora_" in name for name in checkpoint["state_dict"])
    again = build(tiny_folder)
    again.on_load_checkpoint(checkpoint)
    again.load_state_dict(checkpoint["state_dict"], strict=again.strict_loading)
    assert torch.equal(again.logprobs(*batch), trained.logprobs(*batch))
    with pytest.raises(CheckpointError, match="LoRA rank 4"):
        build(tiny_folder, None).on_load_checkpoint(checkpoint)


def test_mistakes_in_its_settings_are_named():
    with pytest.raises(ConfigError, match=r"model\.lora=.*must be null or hold some of rank, alpha"):
        ModelOptions.of({"path": "x", "lora": {"rnk": 3}})
    with pytest.raises(ConfigError, match="rank=0 cannot work"):
        ModelOptions.of({"path": "x", "lora": {"rank": 0}})
    assert ModelOptions.of({"path": "x", "lora": {"rank": 3}}).lora == LoRA(3, 64.0)
