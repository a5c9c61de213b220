"""One-step-off rollouts: who samples when and with which weights, what corrects for it, and where such a run goes on from."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_loop import FakeEngine

from tracer1.algorithms.objective import Objective
from tracer1.engines.transformers import TransformersEngine
from tracer1.errors import ConfigError, EngineError
from tracer1.interfaces import Sampling
from tracer1.models.policy import PolicyModule
from tracer1.schema import Prompt, Response
from tracer1.tracking.journal import figures, read_metrics
from tracer1.tracking.metric_names import check_names
from tracer1.training.ahead import AheadEngine
from tracer1.training.checkpoints import KeepCheckpoints
from tracer1.training.round_rules import RoundRules

STALE = RoundRules(staleness=1)
NO_KL = Objective(kl_coef=0.0)


class ElsewhereEngine(FakeEngine):
    """Notes the policy's first weight when it is served, and how long it was busy; `slow` seconds an answer."""

    apart = True

    def __init__(self, slow: float = 0.0) -> None:
        super().__init__()
        self.slow, self.weights, self.busy = slow, [], []

    @contextmanager
    def serving(self, policy: PolicyModule) -> Iterator[None]:
        self.weights.append(float(next(policy.parameters()).detach().flatten()[0]))
        with super().serving(policy):
            yield

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        began = time.perf_counter()
        time.sleep(self.slow)
        responses = super().generate(prompts, sampling, seeds)
        self.busy.append((began, time.perf_counter()))
        return responses


@pytest.fixture
def stale(policy: PolicyModule, make: Callable[..., Any]) -> Callable[..., Any]:
    """`stale(engine)`: a stream that samples ahead."""
    return lambda engine, **changes: make(
        engine=AheadEngine(engine), reference=None, rules=STALE, objective=NO_KL, **changes
    )


def asked(engine: FakeEngine) -> list[list[tuple[str, tuple[int, ...]]]]:
    """Keys and seeds, call by call."""
    return [[(p.key, tuple(s)) for p, s in zip(prompts, seeds, strict=True)] for prompts, _, seeds in engine.asked]


# --- the correction, by hand ---------------------------------------------------------------------------------------------


def test_a_token_is_weighted_by_who_sampled_it():
    objective = Objective(kl_coef=0.1, importance_cap=2.0)
    old, sampled = torch.tensor([[0.5, 0.1, 0.8, 0.3]]).log(), torch.tensor([[0.25, 0.2, 0.1, 0.3]]).log()
    mask = torch.tensor([[1.0, 1, 1, 0]])
    weight = objective.importance(old, sampled, mask)
    torch.testing.assert_close(weight, torch.tensor([[2.0, 0.5, 2.0, 1.0]]))  # 8 is cut down to 2
    now = old.clone().requires_grad_()
    losses, _ = objective.token_losses(now, old, None, torch.tensor([-3.0]), mask, weight)
    torch.testing.assert_close(losses[0, :3], torch.tensor([6.0, 1.5, 6.0]))  # -A x 1 x weight
    (losses * mask).sum().backward()
    torch.testing.assert_close(now.grad, torch.tensor([[6.0, 1.5, 6.0, 0.0]]))  # the weight has no gradient of its own


def test_the_kl_is_not_weighted():
    objective = Objective(kl_coef=0.5)
    old = torch.tensor([[0.5]]).log()
    ref = torch.tensor([[0.25]]).log()
    zero, mask = torch.zeros(1), torch.ones(1, 1)
    plain, _ = objective.token_losses(old, old, ref, zero, mask)
    weighted, _ = objective.token_losses(old, old, ref, zero, mask, torch.tensor([[2.0]]))
    assert plain == weighted != 0


def test_a_response_has_one_weight_where_it_has_one_ratio():
    objective = Objective(surrogate="sequence", average="sequences", kl_coef=0.0)
    old, sampled = torch.tensor([[0.5, 0.5, 0.9]]).log(), torch.tensor([[0.25, 0.8, 0.1]]).log()
    weight = objective.importance(old, sampled, torch.tensor([[1.0, 1, 0]]))
    torch.testing.assert_close(weight, torch.full((1, 3), (2.0 * 0.625) ** 0.5))


# --- who samples when ----------------------------------------------------------------------------------------------------


def test_the_next_round_is_sampled_with_the_weights_before_this_ones_updates(stale, policy: PolicyModule):
    engine = ElsewhereEngine()
    stream, weight = stale(engine), next(policy.parameters())
    before = weight.detach().clone()
    try:
        for number in range(3):
            for _ in stream:  # an update each
                with torch.no_grad():
                    weight.flatten()[0] = float(number + 1)
            assert stream.figures["rollout/staleness"] == min(number, 1)
            check_names(stream.figures)
        stream.position()
    finally:
        with torch.no_grad():
            weight.copy_(before)
    # round 1 itself, then rounds 2, 3 and 4, each with what was there before the updates of the round before
    assert engine.weights == [float(before.flatten()[0])] * 2 + [1.0, 2.0]


def test_the_same_groups_are_drawn_as_without(stale, make):
    engine, plain = ElsewhereEngine(), FakeEngine()
    ahead, now = stale(engine, rounds=3), make(engine=plain, objective=NO_KL, reference=None)
    for _ in range(3):
        batches = list(ahead), list(now)
        for one, other in zip(*batches, strict=True):
            assert torch.equal(one.responses.input_ids, other.responses.input_ids)
            assert torch.equal(one.advantages, other.advantages)
            assert torch.equal(one.sampled_logprobs, -one.responses.mask)
            assert other.sampled_logprobs is None
        assert ahead.figures["data/dropped_prompts"] == now.figures["data/dropped_prompts"]
    assert asked(engine) == asked(plain)  # and none for a fourth round


def test_sampling_and_updating_overlap(stale):
    engine = ElsewhereEngine(slow=0.4)
    stream, updating = stale(engine, rounds=3), []
    for _ in range(3):
        batches = iter(stream)
        next(batches)
        began = time.perf_counter()
        time.sleep(0.4)
        for _ in batches:
            pass
        updating.append((began, time.perf_counter()))
    shared = [min(a[1], b[1]) - max(a[0], b[0]) for a, b in zip(engine.busy[1:], updating, strict=False)]
    assert sum(shared) > 0.6 * sum(end - began for began, end in engine.busy[1:])


def test_others_are_served_when_the_background_is_done(policy: PolicyModule):
    engine = AheadEngine(ElsewhereEngine(slow=0.2))
    engine.begin(policy, [], Sampling(max_tokens=8), {})
    with engine.serving(policy):
        assert len(engine.engine.busy) == 1
    assert not any(thread.name == "ahead" for thread in threading.enumerate())


def test_an_engine_that_fails_in_the_background_ends_the_next_round(stale):
    engine = ElsewhereEngine()
    stream = stale(engine)
    batches = iter(stream)
    next(batches)
    stream.engine._wait()
    list(batches)

    def fails(*_: Any) -> list[Response]:
        raise EngineError("all servers are gone")

    engine.generate = fails
    for _ in stream:  # sampled before it failed
        pass
    with pytest.raises(EngineError, match="all servers are gone"):
        list(stream)


# --- where a run goes on from --------------------------------------------------------------------------------------------


def test_a_resumed_stream_finds_what_was_sampled(stale):
    whole, engine = [], ElsewhereEngine()
    stream = stale(engine, rounds=4)
    for number in range(4):
        whole.append([(b.responses.input_ids.tolist(), b.advantages.tolist()) for b in stream])
        if number == 1:
            position = stream.position()
    assert len(position["ahead"]) == 12
    second = ElsewhereEngine()
    resumed = stale(second, rounds=4)
    resumed.restore(position)
    again = [[(b.responses.input_ids.tolist(), b.advantages.tolist()) for b in resumed] for _ in range(2)]
    assert again == whole[2:]
    assert asked(second) == asked(engine)[3:]  # round 3 was not sampled again


def test_what_another_number_of_ranks_had_sampled_is_found_by_its_seeds(stale):
    stream = stale(ElsewhereEngine())
    list(stream)
    position = stream.position()
    said = list(position["ahead"].items())
    halves = [{**position, "ahead": dict(said[:6])}, {**position, "ahead": dict(said[6:])}]
    second = ElsewhereEngine()
    resumed = stale(second, rounds=2)
    resumed.restore(position)
    resumed.engine.restore(*halves)
    assert len(list(resumed)) == 4
    assert not second.asked
    resumed.restore(
        {**position, "ahead": dict(said[:6])}
    )  # half is lost: sampled again, all of it, with the weights of now
    assert len(list(resumed)) == 4
    assert len(second.asked) == 1


def test_a_training_repeats_itself_and_goes_on_bit_for_bit(
    train: Callable[..., Any],
    tmp_path: Path,
    one_thread: None,
    monkeypatch: pytest.MonkeyPatch,
):
    settings = ("rollout.staleness=1", "engine.name=toy_apart", "plugins=[toy_run,toy_apart]", "rounds=4")
    assert train(*settings, "run_name=whole").code == 0
    save = KeepCheckpoints.save

    def killed(self: KeepCheckpoints, trainer: Any, done: int) -> None:
        save(self, trainer, done)
        if done == 2:
            raise EngineError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(KeepCheckpoints, "save", killed)
        assert train(*settings, "run_name=parts").code == 2
    assert train(*settings, "run_name=parts", "ckpt_path=last").code == 0
    weights = [(tmp_path / name / "policy" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    rounds = [
        f for line in read_metrics(tmp_path / "whole" / "metrics.jsonl") if "reward/total" in (f := figures(line))
    ]
    assert [f["rollout/staleness"] for f in rounds] == [0, 1, 1, 1]
    assert rounds[0]["rollout/importance_weight"] == pytest.approx(1, abs=1e-4)
    assert all(f["rollout/importance_weight"] != rounds[0]["rollout/importance_weight"] for f in rounds[1:])


# --- what does not go together -------------------------------------------------------------------------------------------


def test_an_engine_with_the_policys_own_weights_cannot():
    with pytest.raises(ConfigError, match=r"rollout\.staleness=1 samples while the policy is updated.*vllm_server"):
        AheadEngine(TransformersEngine())


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        ("algorithm.dynamic_sampling={max_draws: 3}", "algorithm.dynamic_sampling cannot draw again"),
        ("algorithm.top_p_aware=true", "algorithm.top_p_aware=true would compare them with others"),
    ],
)
def test_settings_that_clash(train: Callable[..., Any], algorithm: str, said: str):
    settings = ("rollout.staleness=1", "engine.name=toy_apart", "plugins=[toy_run,toy_apart]")
    assert said in train(*settings, algorithm).error
