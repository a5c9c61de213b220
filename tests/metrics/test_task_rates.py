"""Success rates over tasks: the mean of the tasks' means, and intervals over tasks or over episodes."""

import math

import numpy as np
import pytest

from tracer1.metrics.task_rates import TaskRates, nested_weights


def test_a_rate_is_the_mean_of_the_tasks_means():
    rates = TaskRates(["a", "a", "a", "b"], draws=50, seed=0)
    assert rates.over_tasks([1, 1, 1, 0]).value == pytest.approx(0.5)
    assert rates.over_episodes([1, 1, 1, 0]).value == pytest.approx(0.5)


def test_nested_draws_take_as_many_tasks_and_whole_episodes():
    weights = nested_weights(["a", "a", "b", "b", "c", "c"], draws=300, seed=1)
    assert weights.shape == (300, 6)
    per_task = weights.reshape(300, 3, 2).sum(2)
    assert set(per_task.sum(1)) == {6.0}
    assert set(np.unique(per_task)) <= {0.0, 2.0, 4.0, 6.0}, "a task drawn twice draws its episodes twice"
    assert (weights == 1).any(), "episodes are drawn, too"
    assert weights.mean() == pytest.approx(1, abs=0.05)


def test_tasks_that_differ_are_unsure_and_the_same_tasks_again_are_not():
    rates = TaskRates([f"t{i}" for i in range(10) for _ in range(5)], draws=500, seed=0)
    values = [float(i % 2) for i in range(10) for _ in range(5)]
    over_tasks, over_episodes = rates.over_tasks(values), rates.over_episodes(values)
    assert over_episodes == pytest.approx((0.5, 0.5, 0.5))
    assert over_tasks.low < 0.3
    assert over_tasks.high > 0.7


def test_the_interval_over_episodes_is_that_of_independent_draws():
    generator = np.random.default_rng(0)
    values = generator.integers(0, 2, 400).astype(float)
    found = TaskRates(["only"] * 400, draws=2000, seed=0).over_episodes(values)
    half = 1.96 * math.sqrt(values.mean() * (1 - values.mean()) / 400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high == pytest.approx(values.mean() + half, abs=0.01)


def test_one_episode_of_a_task_says_nothing_of_its_spread():
    found = TaskRates(["a", "a", "b"], draws=50, seed=0).over_episodes([1, 0, 1])
    assert found.value == pytest.approx(0.75)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_episode_is_no_figure():
    found = TaskRates([], draws=50, seed=0).over_tasks([])
    assert math.isnan(found.value)
