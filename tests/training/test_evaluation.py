"""Validation: one response per step with the same noise every time, and figures under their names."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_run import toy_trajectory

from tracer1.errors import ConfigError
from tracer1.executors.direct import DirectExecutor
from tracer1.interfaces import Sampling
from tracer1.parsing import format_plan
from tracer1.schema import Prompt, Response, Rollout, Step
from tracer1.tracking.metric_names import check_names
from tracer1.training.evaluation import Evaluator

STEPS = [step for i in range(3) for step in toy_trajectory(f"v{i}", 2, i)]


class PerfectEngine:
    """Answers with the expert's plan; keeps the seeds."""

    def __init__(self) -> None:
        self.seeds: list[list[int]] = []
        self.served = 0

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        self.served += 1
        yield

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        assert sampling.temperature == 0.5
        self.seeds += map(list, seeds)
        steps = {step.key: step for step in STEPS}
        texts = [format_plan(steps[p.key].future, steps[p.key].index + 1) for p in prompts]
        return [Response(text, (1, 2), (-1.0, -1.0)) for text in texts]


def encode(step: Step) -> Prompt | None:
    return None if step.trajectory == "v2" and step.index == 1 else Prompt(step.key, (1, 2, 3), {})


POLICY = SimpleNamespace(encoder=SimpleNamespace(encode=encode), device=torch.device("cpu"))


def reward(rollout: Rollout) -> tuple[float, dict[str, float]]:
    return (1.0 if rollout.outcome is None else 0.5), {}


def test_a_perfect_planner_is_perfect():
    figures, rollouts = Evaluator(STEPS, PerfectEngine(), reward, name="toy").run(POLICY)
    check_names(figures)
    assert figures["val/toy/type_match"] == figures["val/toy/click_accuracy"] == figures["val/toy/format"] == 1.0
    assert figures["val/toy/reward"] == 1.0
    assert [rollout.step.key for rollout in rollouts] == [step.key for step in STEPS[:-1]]  # the last did not fit


def test_the_noise_is_the_same_in_every_validation_and_in_any_chunks():
    engines = [PerfectEngine() for _ in range(3)]
    for engine, chunk, seed in zip(engines, (64, 2, 64), (0, 0, 1), strict=True):
        Evaluator(STEPS, engine, reward, chunk=chunk, seed=seed).run(POLICY)
    assert engines[0].seeds == engines[1].seeds
    assert all(len(group) == 1 for group in engines[0].seeds)
    assert not {seed for [seed] in engines[0].seeds} & {seed for [seed] in engines[2].seeds}
    assert [engine.served for engine in engines] == [1, 1, 1]


def test_stage_2_validates_with_its_executor():
    figures, rollouts = Evaluator(STEPS, PerfectEngine(), reward, executor=DirectExecutor()).run(POLICY)
    assert all(rollout.outcome.action for rollout in rollouts)
    assert figures["val/heldout/reward"] == 0.5


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_without_steps_there_is_no_figure_but_no_error_either():
    figures, rollouts = Evaluator([], PerfectEngine(), reward).run(POLICY)
    assert rollouts == []
    assert figures["val/heldout/reward"] == 0.0


def test_a_benchmark_s_answers_come_batch_by_batch():
    """The last step's prompt does not fit: it gets no rollout. The noise is that of a validation."""
    engine, told = PerfectEngine(), []
    evaluator = Evaluator([], engine, reward, report=lambda stage, **figures: told.append(figures))
    batches = [STEPS[:4], STEPS[4:]]
    found = list(evaluator.answers(POLICY, iter(batches), total=6))
    assert [steps for steps, _ in found] == batches
    assert [[r.step.key for r in rollouts] for _, rollouts in found] == [
        [s.key for s in STEPS[:4]],
        [STEPS[4].key],
    ]
    assert all(r.outcome is None and r.reward is None for _, rollouts in found for r in rollouts)
    assert told == [{"done": 0, "total": 6}, {"done": 4, "total": 6}]
    assert engine.served == 1
    as_ever = PerfectEngine()
    Evaluator(STEPS, as_ever, reward).run(POLICY)
    assert engine.seeds == as_ever.seeds


def test_an_executor_acts_on_a_benchmark_s_answers_when_asked_to():
    evaluator = Evaluator([], PerfectEngine(), reward, executor=DirectExecutor())
    for execute in (True, False):
        ((_, rollouts),) = evaluator.answers(POLICY, [STEPS[:2]], total=2, execute=execute)
        assert all((r.outcome is not None) is execute for r in rollouts)
    with pytest.raises(ConfigError, match="there is none"):
        Evaluator([], PerfectEngine(), reward).answers(POLICY, [], total=0, execute=True)
