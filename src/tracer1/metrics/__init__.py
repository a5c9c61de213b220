"""Metrics of plans against steps: pure functions (`functional`) and the torchmetrics that average them over ranks (`plan_metrics`).

They know nothing of rewards, rollouts or executors; what they share with the rewards is `tracer1.alignment`.
"""

from tracer1.metrics.functional import click_accuracy, format_score, step_success, trajectory_reward, type_match
from tracer1.metrics.plan_metrics import PlanMean, PlanMetrics

__all__ = [
    "PlanMean",
    "PlanMetrics",
    "click_accuracy",
    "format_score",
    "step_success",
    "trajectory_reward",
    "type_match",
]
