"""The policy's training step: one update is the same however its groups are cut into micro-batches; figures are token means."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from torch.testing import assert_close

from tracer1.errors import CheckpointError
from tracer1.models.batch import MicroBatch, PromptBatch, ResponseBatch
from tracer1.models.encoder import PromptEncoder
from tracer1.models.options import ModelOptions
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import ReferenceModule, make_reference
from tracer1.models.shared_prefix import response_logprobs
from tracer1.schema import Prompt

GROUPS, SIZE = 6, 3


def build(folder: Path, dtype: str = "float64", **options: Any) -> PolicyModule:
    return PolicyModule(
        str(folder),
        prompt={"horizon": 5, "style": "brief"},
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        options=ModelOptions(dtype=dtype, **options),
    )


def trainer(precision: Precision | None = None) -> SimpleNamespace:
    """What a policy asks of its trainer: sums over ranks, and how a step is computed."""
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    return SimpleNamespace(strategy=strategy, precision_plugin=precision or Precision())


def collate(policy: PolicyModule, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]]):
    pad = policy.backbone.pad_id
    return PromptBatch.collate(prompts, pad, policy.backbone.rope_index), ResponseBatch.collate(responses, pad)


def micro_batches(
    policy: PolicyModule, prompts: list[Prompt], responses: list[list[int]], count: int
) -> list[MicroBatch]:
    """The same update, cut into `count` micro-batches of whole groups.

    Old and reference log-probs and advantages belong to the response, so they do not depend on the cut; padding gets nonsense.
    """
    groups, batches = len(prompts) // count, []
    for start in range(0, len(prompts), groups):
        rows = range(start * SIZE, (start + groups) * SIZE)
        batch = collate(policy, prompts[start : start + groups], [responses[r] for r in rows])
        logprobs = policy.logprobs(*batch)
        old, ref = torch.full_like(logprobs, math.nan), torch.full_like(logprobs, math.inf)
        for i, row in enumerate(rows):
            noise = np.random.default_rng(row).normal(0, 0.4, (2, len(responses[row])))
            old[i, : noise.shape[1]] = logprobs[i, : noise.shape[1]] + torch.from_numpy(noise[0])
            ref[i, : noise.shape[1]] = logprobs[i, : noise.shape[1]] + torch.from_numpy(noise[1])
        advantages = torch.tensor([math.sin(row + 1) for row in rows], dtype=torch.float64)
        tokens = sum(map(len, responses))
        batches.append(MicroBatch(*batch, advantages, old, ref, old, tokens, count))
    return batches


def update_gradient(policy: PolicyModule, batches: list[MicroBatch]) -> dict[str, torch.Tensor]:
    """What gradient accumulation makes of the parts: the mean of their gradients."""
    for index, batch in enumerate(batches):
        (policy.training_step(batch, index) / len(batches)).backward()
    found = {name: parameter.grad for name, parameter in policy.named_parameters()}
    policy.zero_grad(set_to_none=True)
    return found


@pytest.fixture
def update(exact: None, tiny_folder: Path, prompts: dict[str, Prompt], some_responses: Callable[..., list[list[int]]]):
    """A float64 policy, 6 prompts of three kinds (every micro-batch has one with a picture), 3 responses of 0 to 9 tokens each."""
    lengths = np.random.default_rng(5).integers(1, 10, GROUPS * SIZE).tolist()
    lengths[7] = 0
    names = ["seen", "blind", "wide", "seen", "blind", "wide"]
    return build(tiny_folder), [prompts[name] for name in names], some_responses(lengths)


def test_the_update_does_not_depend_on_the_micro_batches(update):
    policy, prompts, responses = update
    whole = update_gradient(policy, micro_batches(policy, prompts, responses, 1))
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    assert largest > 1e-3
    for count in (2, 3):
        parts = update_gradient(policy, micro_batches(policy, prompts, responses, count))
        for name, gradient in whole.items():
            assert_close(parts[name], gradient, rtol=1e-12, atol=1e-12 * largest, msg=lambda t, n=name: f"{n}: {t}")


def test_the_loss_is_the_token_mean_worked_out_in_numpy(update):
    policy, prompts, responses = update
    (batch,) = micro_batches(policy, prompts, responses, 1)
    loss = policy.training_step(batch, 0).item()
    logprobs, total = policy.logprobs(batch.prompts, batch.responses).numpy(), 0.0
    for row, response in enumerate(responses):
        advantage = float(batch.advantages[row])
        for at in range(len(response)):
            ratio = math.exp(logprobs[row, at] - float(batch.old_logprobs[row, at]))
            d = float(batch.ref_logprobs[row, at]) - logprobs[row, at]
            bounded = min(ratio, 1.3) if advantage >= 0 else min(max(ratio, 0.8), 3.0)
            total += -advantage * bounded + 0.01 * (math.exp(d) - d - 1)
    assert loss == pytest.approx(total / sum(map(len, responses)), rel=1e-12)


def slope(advantage: float, ratio: float, d: float) -> float:
    """What one token's log-prob is pulled by: -A rho where the ratio is free, and kl_coef (1 - e^d) always."""
    free = ratio < 1.3 if advantage >= 0 else 0.8 < ratio < 3.0
    return (-advantage * ratio if free else 0.0) + 0.01 * (1 - math.exp(d))


def test_the_gradient_is_each_tokens_slope_worked_out_in_numpy(update):
    policy, prompts, responses = update
    (batch,) = micro_batches(policy, prompts, responses, 1)
    got = update_gradient(policy, [batch])
    logprobs, _ = response_logprobs(policy.model, batch.prompts, batch.responses)
    slopes = torch.zeros_like(logprobs)
    for row, response in enumerate(responses):
        for at in range(len(response)):
            now = logprobs[row, at].item()
            ratio, d = math.exp(now - float(batch.old_logprobs[row, at])), float(batch.ref_logprobs[row, at]) - now
            slopes[row, at] = slope(float(batch.advantages[row]), ratio, d) / sum(map(len, responses))
    (logprobs * slopes).sum().backward()
    for name, parameter in policy.named_parameters():
        assert_close(got[name], parameter.grad, rtol=1e-10, atol=1e-14, msg=lambda t, n=name: f"{n}: {t}")


def test_on_policy_the_ratio_is_one_and_nothing_is_clipped(tiny_folder: Path, prompts, some_responses):
    policy = build(tiny_folder, "float32")
    batch = collate(policy, [prompts["seen"]], some_responses([4, 2]))
    old = policy.logprobs(*batch)
    lp, _ = response_logprobs(policy.model, *batch)
    assert (lp == old).all()  # bit for bit: the same packing
    policy.trainer = trainer()
    loss = policy.training_step(MicroBatch(*batch, torch.tensor([1.0, -1.0]), old, old, old, 6.0, 1), 0)
    assert loss.item() == pytest.approx(-(4 - 2) / 6)  # 4 tokens at -1, 2 at +1, no KL
    figures = policy.pop_figures()
    assert (figures["policy/clip_fraction"], figures["policy/kl"]) == (0.0, 0.0)


def test_figures_are_token_means_over_all_micro_batches(update):
    policy, prompts, responses = update
    policy.trainer = trainer()
    (whole,), tokens = micro_batches(policy, prompts, responses, 1), sum(map(len, responses))
    loss = policy.training_step(whole, 0).item()
    at_once = policy.pop_figures()
    assert at_once["policy/loss"] == pytest.approx(loss, rel=1e-12)
    mask, logprobs = whole.responses.mask.bool(), policy.logprobs(whole.prompts, whole.responses)
    log_ratio = (logprobs - whole.old_logprobs)[mask]
    clipped = int(((log_ratio < math.log(0.8)) | (log_ratio > math.log(1.3))).sum())
    assert clipped > 0
    assert at_once["policy/clip_fraction"] == pytest.approx(clipped / tokens)

    for index, batch in enumerate(micro_batches(policy, prompts, responses, 3)):
        policy.training_step(batch, index)
    assert policy.pop_figures() == pytest.approx(at_once, rel=1e-12)
    assert policy.pop_figures() == {}  # they start anew every round


def test_a_checkpoint_of_another_model_is_refused(tiny_folder: Path):
    policy, checkpoint = build(tiny_folder, "float32"), {}
    policy.on_save_checkpoint(checkpoint)
    policy.on_load_checkpoint(checkpoint)
    with pytest.raises(
        CheckpointError, match=r"belongs to another model \(qwen3_vl: text 36 x 4096\) than model\.path"
    ):
        policy.on_load_checkpoint({"architecture": "qwen3_vl: text 36 x 4096"})


def test_the_policy_is_trained_as_a_whole_and_exports_what_it_is(tiny_folder: Path, tmp_path: Path):
    policy = build(tiny_folder, "float32")
    optimizer = policy.configure_optimizers()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in policy.parameters()}  # the vision tower too (method, section 4)
    with torch.no_grad():
        next(policy.parameters()).add_(1)
    policy.export(tmp_path / "policy")
    again = build(tmp_path / "policy", "float32")
    assert all(
        torch.equal(a, b) for a, b in zip(policy.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_the_reference_is_frozen_and_stays_in_evaluation_mode(tiny_folder: Path, prompts, some_responses):
    reference, policy = ReferenceModule(str(tiny_folder)), build(tiny_folder, "float32")
    assert isinstance(policy.encoder, PromptEncoder)
    reference.train()
    assert not any(module.training for module in reference.modules())
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    batch = collate(policy, [prompts["wide"]], some_responses([4, 2]))
    assert_close(
        reference.logprobs(*batch), policy.logprobs(*batch), atol=0, rtol=0
    )  # it is the policy as the stage began


def test_without_an_old_pass_the_update_is_the_same_bit_for_bit(tiny_folder: Path, prompts, some_responses):
    policy = build(tiny_folder, "float32")
    policy.trainer = trainer()
    batch = collate(policy, [prompts["seen"], prompts["wide"]], some_responses([4, 2, 7, 1]))
    old, advantages = policy.logprobs(*batch), torch.tensor([1.0, -1.0, 0.3, -0.3])
    ref, engine = old + 0.1, old + 0.25 * batch[1].mask
    recomputed = update_gradient(policy, [MicroBatch(*batch, advantages, old, ref, None, 14.0, 1)])
    assert "rollout/logprob_error" not in policy.pop_figures()  # the loop has compared them already
    skipped = update_gradient(policy, [MicroBatch(*batch, advantages, None, ref, engine, 14.0, 1)])
    assert all(torch.equal(skipped[name], gradient) for name, gradient in recomputed.items())
    assert policy.pop_figures()["rollout/logprob_error"] == pytest.approx(0.25)


def test_gradient_checkpointing_changes_no_gradient(update, tiny_folder: Path):
    policy, prompts, responses = update
    (batch,) = micro_batches(policy, prompts, responses, 1)
    plain = update_gradient(policy, [batch])
    saving, calls = build(tiny_folder, gradient_checkpointing=True), []
    saving.logprobs(batch.prompts, batch.responses)  # checks the shared prefix, which is not to be counted
    saving.model.model.language_model.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    checkpointed = update_gradient(saving, [batch])
    assert len(calls) == 2  # the forward pass, and again in the backward pass
    for name, gradient in plain.items():
        assert_close(checkpointed[name], gradient, rtol=1e-12, atol=1e-15, msg=lambda t, n=name: f"{n}: {t}")


def test_a_frozen_tower_sees_each_picture_once(update, tiny_folder: Path):
    policy, prompts, responses = update
    (batch,) = micro_batches(policy, prompts, responses, 1)
    plain = update_gradient(policy, [batch])
    frozen = build(tiny_folder, freeze_vision_tower=True)
    reference = make_reference(frozen, str(tiny_folder))
    seen = []
    for module in (frozen, reference):
        module.model.model.visual.register_forward_hook(lambda *_: seen.append(1))
    batch.prompts = frozen.prepared(batch.prompts)
    old = frozen.logprobs(batch.prompts, batch.responses)
    assert_close(reference.logprobs(batch.prompts, batch.responses), old, atol=0, rtol=0)
    gradients = update_gradient(frozen, [batch])
    assert len(seen) == 1
    for name, gradient in plain.items():
        if ".visual." in name:
            assert gradients[name] is None
        else:
            assert_close(gradients[name], gradient, rtol=1e-12, atol=1e-15, msg=lambda t, n=name: f"{n}: {t}")


def test_a_reference_with_another_tower_looks_for_itself(tiny_folder: Path, tmp_path: Path, prompts, some_responses):
    policy = build(tiny_folder, "float32", freeze_vision_tower=True)
    with torch.no_grad():
        policy.model.model.visual.merger.linear_fc2.weight.mul_(2)
    policy.export(tmp_path / "other")
    reference = make_reference(policy, str(tiny_folder))
    batch = collate(policy, [prompts["wide"]], some_responses([4, 2]))
    expected = reference.logprobs(*batch)
    assert torch.equal(reference.logprobs(policy.prepared(batch[0]), batch[1]), expected)
    assert not torch.equal(policy.logprobs(*batch), expected)


def test_an_offloaded_reference_waits_in_main_memory(tiny_folder: Path):
    for offload, path in ((True, ["there", "cpu"]), (False, ["there"])):
        reference = make_reference(build(tiny_folder, "float32", reference_offload=offload), str(tiny_folder))
        devices = []
        reference.to = devices.append
        with reference.awake("there"):
            assert devices == ["there"]
        assert devices == path


def test_in_mixed_precision_all_passes_round_alike(tiny_folder: Path, prompts, some_responses):
    policy = build(tiny_folder, "float32")
    reference = make_reference(policy, str(tiny_folder))
    batch = collate(policy, [prompts["seen"], prompts["wide"]], some_responses([4, 2, 7, 1]))
    exact = policy.logprobs(*batch)
    policy.trainer = trainer(MixedPrecision("bf16-mixed", "cpu"))
    old, ref = policy.logprobs(*batch), reference.logprobs(*batch)
    assert not torch.equal(old, exact)
    with policy.autocast():
        now, _ = response_logprobs(policy.model, *batch)
    assert torch.equal(now, old)
    assert torch.equal(now, ref)
