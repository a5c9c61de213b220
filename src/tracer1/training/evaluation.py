"""Samples one plan for each held-out step and scores it. It knows nothing of optimizers; `train.py` and `eval.py` share it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from tracer1.engines.rollout_file import rollout_seed
from tracer1.errors import ConfigError
from tracer1.interfaces import Executor, RolloutEngine, Sampling
from tracer1.metrics import PlanMetrics
from tracer1.models.options import ModelOptions
from tracer1.models.policy import PolicyModule
from tracer1.schema import Rollout, Step
from tracer1.training.groups import RewardFunction, make_rollouts, score
from tracer1.training.progress import ProgressReporter
from tracer1.training.ranks import agreed, summed
from tracer1.training.round_figures import means_over_ranks, reward_sums, tool_sums
from tracer1.training.round_rules import FaultLimit
from tracer1.training.rounds import StageReporter


@dataclass
class Evaluator:
    """Validation as the paper does it: one response per step, at a lower temperature.

    Args:
        steps: This rank's held-out steps.
        engine, executor, reward: As in training.
        sampling: How responses are drawn (the paper: temperature 0.5).
        name: The benchmark's name in `val/<name>/<metric>`.
        seed: Of the sampling noise; the same for every round, so that two rounds differ by the policy alone.
        faults: Looks at how much the executor's infrastructure failed.
        report: Told how far it is.
    """

    steps: Sequence[Step]
    engine: RolloutEngine
    reward: RewardFunction
    executor: Executor | None = None
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.5))
    name: str = "heldout"
    seed: int = 0
    faults: FaultLimit = field(default_factory=FaultLimit)
    report: StageReporter = lambda stage, **figures: None
    chunk: int = 64  # steps between two reports

    def run(self, policy: PolicyModule) -> tuple[dict[str, float], list[Rollout]]:
        """Metrics over all ranks under their names, and this rank's rollouts."""
        rollouts = agreed(self._scored, policy)
        if self.executor is not None:
            self.faults.check(rollouts, policy.device)
        metrics = PlanMetrics().to(policy.device)
        for rollout in rollouts:
            metrics.update(rollout.step, rollout.plan)
        figures = {**metrics.compute(), **self._mean_rewards(rollouts)}
        if self.executor is not None:
            figures["infra_errors"] = summed([sum(r.masked for r in rollouts)], policy.device)[0]
        return {f"val/{self.name}/{metric}": float(value) for metric, value in figures.items()}, rollouts

    def answers(
        self, policy: PolicyModule, batches: Iterable[Sequence[Step]], total: int, execute: bool = False
    ) -> Iterator[tuple[Sequence[Step], list[Rollout]]]:
        """One response per step, batch by batch, without a reward; nothing is kept. A step whose prompt is too long gets none.

        Args:
            policy: Who answers.
            batches: The steps.
            total: How many there are, for the report.
            execute: Let the executor act on each plan.

        Raises:
            ConfigError: `execute` without an executor.
        """
        if execute and self.executor is None:
            raise ConfigError(
                "An executor's point is to be scored, and there is none. Set one, e.g. `executor=direct`."
            )
        return self._answers(policy, batches, total, execute)

    def _answers(
        self, policy: PolicyModule, batches: Iterable[Sequence[Step]], total: int, execute: bool
    ) -> Iterator[tuple[Sequence[Step], list[Rollout]]]:
        done = 0
        with self.engine.serving(policy):
            for steps in batches:
                self.report("validating", done=done, total=total)
                rollouts = self._rollouts(policy, steps)
                if execute:
                    outcomes = self.executor.execute(rollouts)
                    rollouts = [replace(r, outcome=outcome) for r, outcome in zip(rollouts, outcomes, strict=True)]
                    self.faults.check(rollouts, policy.device)
                yield steps, rollouts
                done += len(steps)

    def _scored(self, policy: PolicyModule) -> list[Rollout]:
        rollouts: list[Rollout] = []
        with self.engine.serving(policy):
            for start in range(0, len(self.steps), self.chunk):
                self.report("validating", done=start, total=len(self.steps))
                rollouts += self._rollouts(policy, self.steps[start : start + self.chunk])
        if self.executor is not None:
            outcomes = self.executor.execute(rollouts)
            rollouts = [replace(r, outcome=outcome) for r, outcome in zip(rollouts, outcomes, strict=True)]
        return score(rollouts, self.reward)

    def _rollouts(self, policy: PolicyModule, steps: Sequence[Step]) -> list[Rollout]:
        encoded = [(step, prompt) for step in steps if (prompt := policy.encoder.encode(step)) is not None]
        kept, prompts = [step for step, _ in encoded], [prompt for _, prompt in encoded]
        seeds = [[rollout_seed(self.seed, "val", prompt.key, 0)] for prompt in prompts]
        return make_rollouts(kept, prompts, self.engine.generate(prompts, self.sampling, seeds)) if kept else []

    def _mean_rewards(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """`reward`, `reward_<term>`, and of steps whose expert called a tool `reward_by_tool.<tool>`; masked rollouts aside."""
        means = means_over_ranks(reward_sums(rollouts) | tool_sums(rollouts))
        named = {
            name.replace("reward/", "reward_").replace("reward_by_tool/", "reward_by_tool."): m
            for name, m in means.items()
        }
        return {"reward": named.pop("reward_total", 0.0), **named}


@contextmanager
def evaluating(evaluator: Evaluator, model: Mapping[str, Any], max_faults: float) -> Iterator[PolicyModule]:
    """The policy to be evaluated, on a GPU where there is one, while it is shown how far the evaluator is.

    Args:
        evaluator: Told where to report, and how many faults of the executor's infrastructure are too many.
        model: The config's group.
        max_faults: Share of the rollouts.
    """
    policy = PolicyModule(model["path"], prompt=model["prompt"], optimizer=None, options=ModelOptions.of(model))
    evaluator.faults = FaultLimit(max_faults)
    with ProgressReporter() as reporter:
        evaluator.report = reporter.stage
        policy.to("cuda" if torch.cuda.is_available() else "cpu")
        yield policy
