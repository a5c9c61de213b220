"""The loop: what is asked of the engine, what comes out for the update, and the figures of a round."""

import itertools
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from toy_loop import SIZE, FakeEngine

from tracer1.engines.rollout_file import rollout_seed
from tracer1.engines.transformers import TransformersEngine
from tracer1.errors import ConfigError, RewardError
from tracer1.executors.direct import DirectExecutor
from tracer1.models.policy import PolicyModule
from tracer1.models.shared_prefix import response_logprobs
from tracer1.schema import Outcome, Rollout
from tracer1.tracking.metric_names import check_names
from tracer1.training.experience import ExperienceStream
from tracer1.training.round_size import RoundSize

# --- the units of a round ------------------------------------------------------------------------------------------------


def test_the_papers_units():
    size = RoundSize(512, 128, 5, groups_per_micro_batch=2, world_size=8)
    assert (size.prompts_per_rank, size.micro_batches_per_update, size.micro_batches_per_round) == (64, 8, 32)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((4, 3, 2, 1, 1), "algorithm.prompts_per_round by algorithm.prompts_per_update: 4 is not divisible by 3."),
        ((8, 4, 2, 3, 1), "algorithm.prompts_per_update by groups_per_micro_batch x ranks: 4 is not divisible by 3."),
        ((8, 4, 2, 1, 8), "algorithm.prompts_per_update by groups_per_micro_batch x ranks: 4 is not divisible by 8."),
        ((8, 0, 2, 1, 1), "algorithm.prompts_per_round by algorithm.prompts_per_update: 8 is not divisible by 0."),
        ((8, 4, 1, 1, 1), "algorithm.group_size=1: a group needs at least 2 rollouts to compare."),
    ],
)
def test_units_that_do_not_divide(numbers: tuple[int, ...], said: str):
    with pytest.raises(ConfigError, match=re.escape(said)):
        RoundSize(*numbers)


# --- what is asked of the engine -----------------------------------------------------------------------------------------


def test_every_response_has_its_own_seed_and_the_same_in_a_repetition(make):
    first, again = make(), make()
    for stream in (first, again, first, again):
        list(stream)
    seeds = [[list(map(tuple, asked[2])) for asked in stream.engine.asked] for stream in (first, again)]
    assert seeds[0] == seeds[1]
    flat = [seed for asked in seeds[0] for group in asked for seed in group]
    assert len(flat) == len(set(flat)) == 2 * 4 * 3  # the six steps come again in the second round, with other noise
    other = make(seed=4)
    list(other)
    assert not {seed for group in other.engine.asked[0][2] for seed in group} & set(flat)
    assert all(0 <= seed < 2**63 for seed in flat)
    assert rollout_seed(3, 0, "a-1", 2) != rollout_seed(3, 0, "a", 12)


def test_a_prompt_over_the_limit_is_dropped_counted_and_replaced(make):
    stream = make()
    for expected in (0, 1, 1, 2):
        list(stream)
        assert stream.figures["data/dropped_prompts"] == expected
    keys = [prompt.key for asked in stream.engine.asked for prompt in asked[0]]
    assert len(keys) == 16
    assert not any(key.startswith("toy-s6") for key in keys)
    assert all(len(prompt.token_ids) <= 200 for asked in stream.engine.asked for prompt in asked[0])


def test_next_to_no_prompt_fits(make):
    encoder = SimpleNamespace(encode=lambda step: None, max_prompt_tokens=5)
    with pytest.raises(
        ConfigError, match=r"1401 prompts had more than 5 tokens, next to none had fewer\. Raise model.prompt"
    ):
        list(make(policy=SimpleNamespace(encoder=encoder)))


# --- what comes out for the update ---------------------------------------------------------------------------------------


def test_the_length_is_the_number_of_micro_batches(make):
    for per_batch, length in ((1, 4), (2, 2)):
        stream = make(size=replace(SIZE, groups_per_micro_batch=per_batch))
        assert [len(stream), len(list(stream)), len(list(stream))] == [length] * 3


def test_micro_batches_hold_whole_groups_and_their_updates_token_count(make):
    stream = make(size=replace(SIZE, prompts_per_round=8, prompts_per_update=4, groups_per_micro_batch=2))
    batches = list(stream)
    for batch in batches:
        assert batch.prompts.input_ids.shape[0] == 2
        assert batch.responses.input_ids.shape[0] == batch.advantages.shape[0] == 6
        assert batch.old_logprobs.shape == batch.ref_logprobs.shape == batch.responses.mask.shape
        assert batch.parts == 2
    for update in (batches[:2], batches[2:]):
        tokens = sum(int(batch.responses.mask.sum()) for batch in update)
        assert [batch.denominator for batch in update] == [tokens] * 2


def test_advantages_are_z_scores_of_each_group_and_ties_are_zero(make):
    steps = itertools.count()

    def reward(rollout: Rollout) -> tuple[float, dict[str, float]]:
        group, member = divmod(next(steps), 3)
        return (0.3 if group == 1 else float(member)), {}

    stream = make(reward=reward)
    advantages = [batch.advantages.tolist() for batch in stream]
    assert advantages[1] == [0.0, 0.0, 0.0]
    for group in (0, 2, 3):
        assert advantages[group] == pytest.approx([-1.0, 0.0, 1.0], abs=1e-5)
    assert stream.figures["rollout/ties"] == 0.25


@pytest.mark.parametrize("per_batch", [1, 2])
def test_on_policy_the_ratio_is_one_exactly(make, policy: PolicyModule, per_batch: int):
    """The forward of the update repeats the one that gave the old log-probs, bit for bit, and so does the reference's."""
    stream = make(engine=TransformersEngine(), size=replace(SIZE, groups_per_micro_batch=per_batch))
    for batch in stream:
        now, _ = response_logprobs(policy.model, batch.prompts, batch.responses, entropy=True)
        assert now.requires_grad
        assert torch.equal(now.detach(), batch.old_logprobs)
        assert torch.equal(batch.ref_logprobs, batch.old_logprobs)
    assert (
        0 < stream.figures["rollout/logprob_error"] < 1e-5
    )  # the sampler's are rounded otherwise, and no more than that


# --- stages --------------------------------------------------------------------------------------------------------------


def test_stage_2_executes_before_it_scores(make):
    seen: list[Outcome | None] = []

    def reward(rollout: Rollout) -> tuple[float, dict[str, float]]:
        seen.append(rollout.outcome)
        return 0.0, {}

    told: list[str] = []
    stream = make(reward=reward, executor=DirectExecutor(), report=lambda stage, **_: told.append(stage))
    list(stream)
    assert len(seen) == 12
    assert all(outcome.error for outcome in seen)  # "text 123" is no plan
    assert "time/executing_s" in stream.figures
    assert list(dict.fromkeys(told)) == ["drawing", "generating", "executing", "scoring", "preparing", "updating"]
    seen.clear()
    stage1 = make(reward=reward)
    list(stage1)
    assert seen == [None] * 12
    assert "time/executing_s" not in stage1.figures


def test_a_broken_reward_stops_the_round(make):
    def reward(rollout: Rollout) -> tuple[float, dict[str, float]]:
        raise RewardError("broken on toy-s0-000")

    with pytest.raises(RewardError, match="toy-s0-000"):
        list(make(reward=reward))


# --- figures and position ------------------------------------------------------------------------------------------------


def test_the_figures_are_means_over_the_round(make):
    stream = make()
    list(stream)
    figures = stream.end_round()
    check_names(figures)
    responses = [FakeEngine.answer(seed) for group in stream.engine.asked[0][2] for seed in group]
    mean_length = sum(len(r.token_ids) for r in responses) / 12
    assert figures["reward/total"] == figures["reward/length"] == pytest.approx(mean_length)
    assert figures["reward/half"] == pytest.approx(mean_length / 2)
    assert figures["rollout/response_length"] == pytest.approx(mean_length)
    assert figures["rollout/truncated"] == pytest.approx(sum(r.truncated for r in responses) / 12)
    assert figures["rollout/tokens_per_s"] == pytest.approx(12 * mean_length / figures["time/generating_s"])
    stages = {"time/drawing_s", "time/generating_s", "time/scoring_s", "time/preparing_s", "time/updating_s"}
    assert {name for name in figures if name.startswith("time/")} == stages


def test_going_on_from_a_position_gives_the_rounds_that_were_left(make):
    whole, begun, resumed = make(), make(), make()
    expected = [flat(stream) for stream in (whole, whole, whole)]
    assert [flat(begun), flat(begun)] == expected[:2]
    resumed.restore(begun.position())
    assert flat(resumed) == expected[2]
    assert resumed.dropped_prompts == whole.dropped_prompts


def test_a_round_that_was_not_finished_is_not_counted(make):
    """A position is that of the next round as soon as a round's updates begin: checkpoints lie between rounds."""
    stream = make()
    rounds = iter(stream)
    assert stream.position()["round"] == 0
    next(rounds)
    assert stream.position()["round"] == 1


def flat(stream: ExperienceStream) -> list[list[int]]:
    return [batch.responses.input_ids.flatten().tolist() for batch in stream]
