"""Means over steps and over ranks."""

import math
import pickle
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tracer1.metrics import PlanMean, PlanMetrics, type_match
from tracer1.parsing import format_plan, parse_plan
from tracer1.schema import DONE, Action, Plan, PlanStep, Step

BOX = (100.0, 100.0, 200.0, 200.0)
CLICK = Step("a", "toy", "a", 0, "u", None, (), (PlanStep(Action("click", point=(150, 150)), DONE),), (BOX,))
WAIT = Step("b", "toy", "b", 0, "u", None, (), (PlanStep(Action("wait"), DONE),))


def say(step: Step) -> Plan:
    return parse_plan(format_plan(step.future))


# A hit, a wrong type, an unreadable plan and a hit: what each metric makes of them is worked out below.
PAIRS = [(CLICK, say(CLICK)), (CLICK, say(WAIT)), (WAIT, Plan()), (WAIT, say(WAIT))]
EXPECTED = {
    "step_success": 2 / 4,
    "type_match": 2 / 4,
    "click_accuracy": 1 / 2,  # only CLICK counts, twice
    "trajectory_reward": (1 + 0.2 / 1.2 + 0 + 1) / 4,  # a wrong type of equal length keeps the bonus: 0.2 of 1.2
    "format": 3 / 4,
    "repeating": 0,
    "repeating_more": 0,
    "plan_length": 3 / 4,  # the unreadable plan has no steps
}


def test_means_by_hand():
    metrics = PlanMetrics()
    for step, plan in PAIRS:
        metrics.update(step, plan)
    assert metrics.compute() == pytest.approx(EXPECTED)
    assert all(type(value) is float for value in metrics.compute().values())


def test_metrics_that_agree_at_first_stay_apart():
    # torchmetrics' compute groups would merge the states of metrics that agree after the first update, as a hit makes them.
    metrics = PlanMetrics()
    metrics.update(CLICK, say(CLICK))
    metrics.update(CLICK, parse_plan(format_plan([PlanStep(Action("click", point=(500, 500)), DONE)])))
    found, said = metrics.compute(), ("step_success", "type_match", "click_accuracy", "trajectory_reward", "format")
    assert [found[name] for name in said] == [0.5, 1.0, 0.5, 1.0, 1.0]


def test_a_rate_over_nothing_is_not_a_number():
    metrics = PlanMetrics()
    metrics.update(WAIT, say(WAIT))
    assert math.isnan(metrics.compute()["click_accuracy"])
    metrics.reset()
    metrics.update(CLICK, say(CLICK))
    assert metrics.compute()["click_accuracy"] == 1.0


def test_the_distance_is_the_step_s():
    nearby = Step("c", "toy", "c", 0, "u", None, (), (PlanStep(Action("click", point=(250, 150)), DONE),))
    for distance, success in ((140, 1.0), (99, 0.0)):
        metrics = PlanMetrics(distance=distance)
        metrics.update(nearby, say(CLICK))
        assert metrics.compute()["step_success"] == success


def test_a_metric_can_be_pickled():
    metrics = PlanMetrics()
    metrics.update(*PAIRS[0])
    assert pickle.loads(pickle.dumps(metrics)).compute() == metrics.compute()


def test_states_of_two_metrics_merge():
    left, right = PlanMean(type_match), PlanMean(type_match)
    left.update(*PAIRS[0])
    right.update(*PAIRS[1])
    right.update(*PAIRS[2])
    left.merge_state(right)
    assert left.compute() == pytest.approx(1 / 3)


def _rank(rank: int, meeting: str, results: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    metrics = PlanMetrics()
    for step, plan in [PAIRS[:3], PAIRS[3:]][rank]:  # three steps here, one there: a mean of means would differ
        metrics.update(step, plan)
    torch.save(metrics.compute(), f"{results}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_agree_with_one(tmp_path: Path):
    mp.spawn(_rank, (str(tmp_path / "meeting"), str(tmp_path)), nprocs=2)
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)] == [pytest.approx(EXPECTED)] * 2
