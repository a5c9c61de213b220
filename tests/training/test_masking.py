"""Rollouts on which an executor's infrastructure failed: no reward, no part in the comparison or the loss, and a limit."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from test_evaluation import POLICY, STEPS, PerfectEngine, reward
from toy_loop import SIZE

from tracer1.engines.rollout_file import read_rollouts
from tracer1.engines.transformers import TransformersEngine
from tracer1.errors import ExecutorError
from tracer1.schema import Outcome, Response, Rollout
from tracer1.tracking.metric_names import check_names
from tracer1.training.evaluation import Evaluator
from tracer1.training.groups import Group, score
from tracer1.training.round_figures import rollout_figures
from tracer1.training.round_rules import FaultLimit, Overlong, RoundRules


class ShakyExecutor:
    """Fails on the rollouts whose place in the round is in `lost`."""

    def __init__(self, *lost: int) -> None:
        self.lost = lost

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        return [
            Outcome(fault="no answer in 3 s") if i in self.lost else Outcome(cached=i % 2 == 0)
            for i in range(len(rollouts))
        ]


def patient(**more) -> RoundRules:
    return RoundRules(faults=FaultLimit(1.0), **more)


def test_a_masked_rollout_has_no_token_in_the_loss_and_no_reward(make):
    stream = make(executor=ShakyExecutor(1, 6, 7), rules=patient())
    batches = list(stream)
    rows = torch.cat([batch.responses.mask.any(1) for batch in batches]).tolist()
    assert [i for i, row in enumerate(rows) if not row] == [1, 6, 7]
    advantages = torch.cat([batch.advantages for batch in batches]).tolist()
    assert [advantages[i] for i in (1, 6, 7, 8)] == [0, 0, 0, 0]  # 8 is left alone: compared with nobody
    assert advantages[0] == pytest.approx(-advantages[2])
    for update in (batches[:2], batches[2:]):
        assert {b.denominator for b in update} == {sum(int(b.responses.mask.sum()) for b in update)}


def test_the_gradient_is_that_of_the_group_without_it(make, policy):
    """One group of 3 with the last rollout masked, beside the same first two rollouts as a group of 2."""
    gradients = []
    for members, lost in ((3, (2,)), (2, ())):
        size = replace(SIZE, prompts_per_round=1, prompts_per_update=1, group_size=members)
        own = {"reward": lambda r: (float(r.response.token_ids[0]), {}), "executor": ShakyExecutor(*lost)}
        [batch] = make(engine=TransformersEngine(), size=size, rules=patient(), **own)
        policy.zero_grad()
        policy.training_step(batch, 0).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]))
    policy.zero_grad()
    policy._sums.clear()  # outside of a training nobody reads the figures
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_figures_are_means_over_the_others(make):
    stream = make(executor=ShakyExecutor(0, 1, 2, 4), rules=patient())
    list(stream)
    check_names(stream.figures)
    lengths = [
        len(stream.engine.answer(seed).token_ids) for asked in stream.engine.asked for g in asked[2] for seed in g
    ]
    kept = [length for i, length in enumerate(lengths) if i not in (0, 1, 2, 4)]
    assert stream.figures["executor/infra_errors"] == 4
    assert stream.figures["reward/total"] == pytest.approx(sum(kept) / 8)
    assert stream.figures["reward/half"] == pytest.approx(sum(kept) / 16)
    assert stream.figures["executor/cache_hits"] == pytest.approx(3 / 8)
    assert stream.figures["rollout/response_length"] == pytest.approx(sum(lengths) / 12)  # sampled all the same


def test_a_group_that_lost_all_is_replaced_by_dynamic_sampling(make):
    stream = make(executor=ShakyExecutor(0, 1, 2), rules=patient(max_draws=2))
    list(stream)
    assert [len(asked[0]) for asked in stream.engine.asked] == [4, 1]


def test_too_many_faults_stop_the_round_with_one_line(make):
    said = "3 of 12 executions met a fault of the infrastructure, more than rollout.max_faults=0.2 allows; 3 times: no answer in 3 s."
    with pytest.raises(ExecutorError, match=re.escape(said)):
        list(make(executor=ShakyExecutor(0, 5, 9)))
    list(make(executor=ShakyExecutor(0, 5)))  # 2 of 12 are fewer than a fifth


def test_the_dump_says_what_was_masked(make, tmp_path):
    list(make(executor=ShakyExecutor(4), rules=patient(dump=tmp_path)))
    records = list(read_rollouts(tmp_path))
    assert [i for i, record in enumerate(records) if record.reward is None] == [4]
    assert (records[4].fault, records[4].advantage, records[3].fault) == ("no answer in 3 s", 0.0, "")


def test_rewards_and_shaping_never_see_it(make_step):
    rollout = Rollout(make_step(), Response("x", (1,) * 9, ()), outcome=Outcome(fault="gone"))

    def never(rollout: Rollout) -> tuple[float, dict[str, float]]:
        raise AssertionError("it was scored")

    [scored] = Overlong(4, 0.5, 10).apply(score([rollout], never))
    assert scored.reward is None
    assert Group(rollout.step, None, rollouts=(scored,)).tied


def test_rewards_are_told_apart_by_the_expert_s_tool(make_step):
    groups = []
    for tool, rewards in (("ocr", (1.0, 0.0)), ("calculator", (0.5, None)), ("ocr", (1.0, 1.0))):
        step = make_step(platform="tool")
        action = replace(step.future[0].action, action_type=tool)
        step = replace(step, future=(replace(step.future[0], action=action),))
        made = [
            Rollout(step, Response("", (1,), ()), outcome=Outcome(fault="" if r is not None else "gone"), reward=r)
            for r in rewards
        ]
        groups.append(Group(step, None, rollouts=tuple(made)))
    figures, _ = rollout_figures(groups, 0, torch.device("cpu"))
    check_names(figures)
    assert (figures["reward_by_tool/ocr"], figures["reward_by_tool/calculator"]) == (0.75, 0.5)


def test_a_validation_counts_them_and_has_the_same_limit():
    figures, rollouts = Evaluator(STEPS, PerfectEngine(), reward, executor=ShakyExecutor(1)).run(POLICY)
    check_names(figures)
    assert (figures["val/heldout/infra_errors"], figures["val/heldout/reward"]) == (1, 0.5)
    assert rollouts[1].masked
    with pytest.raises(ExecutorError, match="2 of 5 executions met a fault"):
        Evaluator(STEPS, PerfectEngine(), reward, executor=ShakyExecutor(1, 2)).run(POLICY)
    assert not any(math.isnan(value) for value in figures.values())
