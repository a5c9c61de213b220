"""What goes into a micro-batch: log-probs as the objective needs them, KL in the reward, advantages, denominators."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from toy_loop import SIZE, FakeEngine

from tracer1.algorithms.objective import Objective
from tracer1.engines.transformers import TransformersEngine
from tracer1.interfaces import Sampling
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.policy import PolicyModule


class CountingReference:
    """Answers with a fixed log-prob; counts."""

    def __init__(self, logprob: float = -2.0) -> None:
        self.logprob, self.asked, self.is_awake, self.naps = logprob, 0, False, 0

    def awake(self, device: torch.device) -> "CountingReference":
        return self

    def __enter__(self) -> None:
        self.is_awake = True

    def __exit__(self, *_: object) -> None:
        self.is_awake, self.naps = False, self.naps + 1

    def logprobs(self, prompts: PromptBatch, responses: ResponseBatch) -> torch.Tensor:
        assert self.is_awake
        self.asked += 1
        return torch.full_like(responses.mask, self.logprob)


@pytest.fixture
def old_passes(policy: PolicyModule, monkeypatch: pytest.MonkeyPatch) -> list[PromptBatch]:
    """The prompts of every pass for old log-probs."""
    seen: list[PromptBatch] = []
    passed = policy.logprobs

    def logprobs(prompts: PromptBatch, responses: ResponseBatch) -> torch.Tensor:
        seen.append(prompts)
        return passed(prompts, responses)

    monkeypatch.setattr(policy, "logprobs", logprobs)
    return seen


# --- which passes are made -------------------------------------------------------------------------------------------------


def test_recompute_passes_over_all_and_compares_with_the_engine_itself(make, old_passes: list):
    stream = make(reference=CountingReference())
    batches = list(stream)
    assert (len(old_passes), stream.preparation.reference.asked, stream.preparation.reference.naps) == (4, 4, 1)
    assert all(batch.old_logprobs is not None and batch.engine_logprobs is None for batch in batches)
    assert stream.figures["rollout/logprob_error"] > 0


def test_the_first_update_needs_no_old_pass(make, old_passes: list):
    """Two updates of two micro-batches each: the first's ratio is 1 by construction."""
    stream = make(objective=Objective(old_logprobs="first_update_on_policy"))
    batches = list(stream)
    assert len(old_passes) == 2
    assert [batch.old_logprobs is None for batch in batches] == [True, True, False, False]
    assert [batch.engine_logprobs is not None for batch in batches] == [True, True, False, False]
    assert "rollout/logprob_error" not in stream.figures  # the policy measures it in its own forward
    whole = list(make())
    for batch, recomputed in zip(batches[2:], whole[2:], strict=True):
        assert torch.equal(batch.old_logprobs, recomputed.old_logprobs)


def test_the_engines_logprobs_need_no_pass_at_all(make, old_passes: list):
    stream = make(objective=Objective(old_logprobs="engine", kl_coef=0), reference=None)
    batches = list(stream)
    assert old_passes == []
    for batch in batches:
        assert batch.ref_logprobs is None
        mask = batch.responses.mask.bool()
        assert (batch.old_logprobs[mask] == -1).all()  # what the fake engine says
        assert (batch.old_logprobs[~mask] == 0).all()
    assert [batch.engine_logprobs is not None for batch in batches] == [True, True, False, False]


def test_a_frozen_towers_features_are_made_once_and_serve_every_pass(make, policy: PolicyModule, old_passes: list):
    tower, calls = policy.model.model.visual, []
    tower.requires_grad_(False)
    hook = tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        batches = list(make())
        assert len(calls) == 4  # once for each micro-batch; the reference has a tower of its own
        assert all(batch.prompts.features is not None for batch in batches)
    finally:
        hook.remove()
        tower.requires_grad_(True)


def test_a_picture_is_patched_once_and_its_patches_go_to_engine_and_trainer(make, policy: PolicyModule, monkeypatch):
    """Four prompts of three rollouts: four pictures, and no response has a copy of its own."""
    patched = []
    patches = policy.encoder._patches

    def counting(screenshot: bytes) -> dict[str, torch.Tensor]:
        patched.append(patches(screenshot))
        return patched[-1]

    monkeypatch.setattr(policy.encoder, "_patches", counting)
    stream = make(objective=Objective(old_logprobs="engine"), size=replace(SIZE, groups_per_micro_batch=2))
    batches = list(stream)
    [(prompts, *_)] = stream.engine.asked
    assert len(patched) == len(prompts) == 4
    assert all(prompt.tensors is tensors for prompt, tensors in zip(prompts, patched, strict=True))
    for batch, own in zip(batches, (patched[:2], patched[2:]), strict=True):
        assert len(batch.advantages) == 6
        assert torch.equal(batch.prompts.pixel_values, torch.cat([tensors["pixel_values"] for tensors in own]))


# --- advantages ------------------------------------------------------------------------------------------------------------


def test_the_kl_in_the_reward_is_taken_off_before_the_advantages(make):
    objective = Objective(kl_in="reward", kl_kind="k1", kl_coef=0.5, old_logprobs="engine", advantages="centred")
    stream = make(objective=objective, reference=CountingReference(-2.0), reward=lambda rollout: (1.0, {}))
    batches = list(stream)
    # old -1 and reference -2 for every token: k1 is 1 a token, so a response of R tokens has the reward 1 - 0.5 R
    for batch in batches:
        rewards = 1 - 0.5 * batch.responses.mask.sum(1)
        assert_close(batch.advantages, rewards - rewards.mean())
    assert stream.figures["reward/total"] == 1.0  # what the policy earned; the KL has its own figure


def test_reinforce_pp_compares_with_the_whole_round(make):
    stream = make(objective=Objective(advantages="round_z_score"))
    batches = list(stream)
    lengths = torch.cat([batch.responses.mask.sum(1) for batch in batches]).double()
    expected = (lengths - lengths.mean()) / lengths.std(correction=0)
    assert_close(torch.cat([batch.advantages for batch in batches]), expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("per_batch", [1, 2])
def test_advantages_belong_to_their_responses_in_any_packing(make, per_batch: int):
    size = replace(SIZE, groups_per_micro_batch=per_batch)
    for batch in make(size=size, objective=Objective(advantages="leave_one_out")):
        lengths = batch.responses.mask.sum(1).view(-1, 3)  # the reward
        assert_close(batch.advantages.view(-1, 3), (lengths - lengths.mean(1, keepdim=True)) * 1.5)


# --- denominators ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("average", "denominator"), [("sequences", 6.0), ("constant", 6.0 * 8)])
def test_denominators_that_do_not_count_tokens(make, average: str, denominator: float):
    """Two prompts of three rollouts an update, of at most 8 tokens."""
    assert {batch.denominator for batch in make(objective=Objective(average=average))} == {denominator}


# --- the sampler's log-probs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["first_update_on_policy", "engine"])
def test_the_policy_reports_the_difference_to_the_engine(make, policy: PolicyModule, mode: str):
    """Real responses: the sampler's log-probs are rounded otherwise, and no more than that."""
    stream = make(engine=TransformersEngine(), objective=Objective(old_logprobs=mode), sampling=Sampling(max_tokens=5))
    policy._sums = {}
    for batch in stream:
        policy.training_step(batch, 0)
    noted = {name: value for name, value in policy._sums.items() if "rollout/logprob_error" in name}
    assert len(noted) == 1
    policy._sums = {}
    [error] = noted.values()
    assert 0 < error < 1e-3


def test_under_the_engines_logprobs_the_loss_weighs_what_the_engine_said(make, policy: PolicyModule):
    """An engine that finds every token twice as likely as the policy does: all weights are one half."""
    halved = Halved(policy)
    objective = Objective(old_logprobs="engine", kl_coef=0, advantages="centred")
    batch = next(iter(make(engine=halved, objective=objective, reference=None)))
    logprobs = policy.logprobs(batch.prompts, batch.responses)
    losses, _ = objective.token_losses(logprobs, batch.old_logprobs, None, batch.advantages, batch.responses.mask)
    mask = batch.responses.mask.bool()
    expected = (-0.5 * batch.advantages[:, None]).expand_as(losses)
    assert_close(losses[mask], expected[mask], atol=1e-4, rtol=1e-4)


class Halved(FakeEngine):
    """Its log-probs are the policy's plus ln 2."""

    def __init__(self, policy: PolicyModule) -> None:
        super().__init__()
        self.policy = policy

    def generate(self, prompts, sampling, seeds):
        backbone = self.policy.backbone
        answers = super().generate(prompts, sampling, seeds)
        batch = PromptBatch.collate(prompts, backbone.pad_id, backbone.rope_index)
        responses = ResponseBatch.collate([answer.token_ids for answer in answers], backbone.pad_id)
        own = self.policy.logprobs(batch, responses) + torch.tensor(2.0).log()
        return [
            replace(answer, logprobs=tuple(row[: len(answer.token_ids)].tolist()))
            for answer, row in zip(answers, own, strict=True)
        ]
