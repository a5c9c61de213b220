"""Figures over episodes, their intervals, and the metric that sums them over ranks."""

import math
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tracer1.metrics.episode_metrics import EpisodeFigures
from tracer1.metrics.episodes import (
    ACTION_COLUMNS,
    DUE,
    ELEMENT_COLUMNS,
    Statistic,
    all_right,
    bootstrap_weights,
    columns_of,
    estimate,
    mean_of,
    mean_of_ratios,
    ratio,
    within,
)
from tracer1.metrics.rules import SKIPPED, ActionVerdict, ElementVerdict

# Three episodes of 4, 1 and 0 counted steps
SUMS = {
    "success": np.array([3.0, 1.0, 0.0]),
    "steps": np.array([4.0, 1.0, 0.0]),
    DUE: np.array([4.0, 1.0, 2.0]),
}


def of(statistic: Statistic, weights: list[float] | None = None) -> float:
    return float(statistic(SUMS, np.array([weights or [1.0] * 3]))[0])


def test_means_over_steps_episodes_and_parts():
    assert of(ratio("success")) == pytest.approx(4 / 5)
    assert of(mean_of_ratios("success")) == pytest.approx((3 / 4 + 1) / 2)  # the empty episode is left out
    assert of(within(np.array([True, False, False]), ratio("success"))) == pytest.approx(3 / 4)
    assert math.isnan(of(within(np.array([False, False, True]), ratio("success"))))
    nothing = within(np.array([False] * 3), ratio("success"))
    assert of(mean_of([ratio("success"), nothing])) == pytest.approx(4 / 5)
    assert math.isnan(of(mean_of([nothing])))


def test_weights_count_episodes_more_than_once():
    assert of(ratio("success"), [2, 1, 0]) == pytest.approx(7 / 9)
    assert of(mean_of_ratios("success"), [2, 1, 5]) == pytest.approx((2 * 0.75 + 1) / 3)


def test_an_episode_is_right_when_all_its_steps_are_and_none_is_missing():
    assert of(all_right()) == pytest.approx(1 / 2)
    missing = {**SUMS, DUE: np.array([4.0, 2.0, 2.0])}
    assert all_right()(missing, np.ones((1, 3)))[0] == 0.0  # the second has 1 of 2 steps: left out of both numbers


def test_columns_of_a_step():
    hit = columns_of(ActionVerdict(True, True, True), "click")
    assert hit == dict.fromkeys(ACTION_COLUMNS, 1.0)
    # grounding looks at clicks of the right type only
    assert columns_of(ActionVerdict(False, False, False), "click")["clicks"] == 0
    assert columns_of(ActionVerdict(True, True, True), "long_press")["clicks"] == 0
    assert columns_of(ActionVerdict(True, None, True), "wait")["clicks"] == 0
    assert columns_of(ActionVerdict(True, False, False), "click") == {
        "steps": 1.0, "type_match": 1.0, "success": 0.0, "clicks": 1.0, "hits": 0.0,
    }  # fmt: skip
    assert columns_of(ElementVerdict(True, 0.5, False), "TYPE") == {
        "steps": 1.0, "element": 1.0, "f1": 0.5, "success": 0.0, "f1_TYPE": 0.5, "steps_TYPE": 1.0,
    }  # fmt: skip
    assert columns_of(SKIPPED, "CLICK") == {}
    assert {"f1_SELECT", "steps_CLICK"} <= set(ELEMENT_COLUMNS)


def test_every_stratum_keeps_its_size_and_a_seed_its_draws():
    strata = ["a", "b", "a", "a", "b"]
    weights = bootstrap_weights(strata, 50, seed=3)
    assert weights.shape == (50, 5)
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all()
    assert (weights[:, [1, 4]].sum(1) == 2).all()
    assert (weights == bootstrap_weights(strata, 50, seed=3)).all()
    assert (weights != bootstrap_weights(strata, 50, seed=4)).any()
    assert len(np.unique(weights, axis=0)) > 10


def test_the_interval_is_that_of_drawing_episodes():
    """30 of 100 one-step episodes are right: the binomial's 95 % reach from 0.21 to 0.39."""
    sums = {"success": np.array([1.0] * 30 + [0.0] * 70), "steps": np.ones(100), DUE: np.ones(100)}
    found = estimate(sums, ratio("success"), bootstrap_weights(["a"] * 100, 4000, 0))
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(0.21, abs=0.011)
    assert found.high == pytest.approx(0.39, abs=0.011)
    # the same steps in ten episodes that are right or wrong as a whole are far less sure
    clustered = {"success": np.array([10.0] * 3 + [0.0] * 7), "steps": np.full(10, 10.0), DUE: np.full(10, 10.0)}
    wide = estimate(clustered, ratio("success"), bootstrap_weights(["a"] * 10, 4000, 0))
    assert wide.high - wide.low > 2.5 * (found.high - found.low)


def test_of_nothing_there_is_no_interval():
    sums = {"success": np.zeros(2), "steps": np.zeros(2), DUE: np.zeros(2)}
    found = estimate(sums, ratio("success"), bootstrap_weights(["a"] * 2, 10, 0))
    assert all(math.isnan(value) for value in (found.value, found.low, found.high))


# --- the metric --------------------------------------------------------------------------------------------------------

STEPS = [(0, 1), (0, 1), (1, 1), (0, 0), (0, 1)]  # episode, success
FIGURES = {"step_success": ratio("success"), "episode_success": all_right()}


def metric() -> EpisodeFigures:
    return EpisodeFigures([4, 1, 2], ["steps", "success"], FIGURES, bootstrap_weights(["a"] * 3, 20, 0))


def fill(metric: EpisodeFigures, steps: list[tuple[int, int]]) -> EpisodeFigures:
    for episode, success in steps:
        metric.update(episode, {"steps": 1.0, "success": float(success)})
    return metric


def test_the_metric_and_its_twin_agree():
    found = fill(metric(), STEPS).compute()
    assert found == {name: estimate(SUMS, figure, metric().weights) for name, figure in FIGURES.items()}
    assert found["step_success"].value == pytest.approx(4 / 5)


def test_a_reset_metric_starts_from_nothing():
    used = fill(metric(), STEPS)
    used.reset()
    assert fill(used, STEPS).compute() == fill(metric(), STEPS).compute()


def _rank(rank: int, meeting: str, results: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    found = fill(metric(), [STEPS[:2], STEPS[2:]][rank]).compute()  # the first episode's steps lie on both ranks
    torch.save({name: (f.value, f.low, f.high) for name, f in found.items()}, f"{results}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_agree_with_one(tmp_path: Path):
    mp.spawn(_rank, (str(tmp_path / "meeting"), str(tmp_path)), nprocs=2)
    alone = {name: (f.value, f.low, f.high) for name, f in fill(metric(), STEPS).compute().items()}
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)] == [alone, alone]
