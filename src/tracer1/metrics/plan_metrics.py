"""Means of plan scores over steps and ranks, as torchmetrics. It knows which functions to average, not what they compute."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torchmetrics import Metric, MetricCollection

from tracer1.actions import DEFAULT_DISTANCE
from tracer1.metrics import functional
from tracer1.schema import Plan, Step


class PlanMean(Metric):
    """The mean of a function of (step, plan) over the steps that count.

    Args:
        score: A number, or None where the step does not count (`functional`). Must be picklable.
        **settings: torchmetrics' own.
    """

    higher_is_better = True
    full_state_update = False

    def __init__(self, score: Callable[[Step, Plan], float | None], **settings: Any) -> None:
        super().__init__(**settings)
        self.score = score
        # Double precision: adding one to a float32 sum of 2^24 steps changes nothing.
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, step: Step, plan: Plan) -> None:
        """Adds one step's score, if it has one."""
        value = self.score(step, plan)
        if value is not None:
            self.total += value
            self.count += 1

    def compute(self) -> torch.Tensor:
        """() the mean; NaN, not 0, when no step counted."""
        return self.total / self.count


class PlanMetrics(MetricCollection):
    """Every validation metric of plans at once: `update(step, plan)`, then `compute()`.

    Args:
        distance: How near a place must be where the step has no box, in 0..1000 units.
    """

    def __init__(self, distance: float = DEFAULT_DISTANCE) -> None:
        scores = {
            "step_success": partial(functional.step_success, distance=distance),
            "type_match": functional.type_match,
            "click_accuracy": functional.click_accuracy,
            "trajectory_reward": functional.trajectory_reward,
            "format": functional.format_score,
            "repeating": functional.repeating,
            "repeating_more": functional.repeating_more,
            "plan_length": functional.plan_length,
        }
        # Compute groups would share one state between metrics whose first update happens to agree, and ours often do.
        super().__init__({name: PlanMean(score) for name, score in scores.items()}, compute_groups=False)

    def compute(self) -> dict[str, float]:
        """Metric name -> mean over all ranks; NaN where no step counted (no step with a box, say)."""
        return {name: float(value) for name, value in super().compute().items()}
