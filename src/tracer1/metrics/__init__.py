"""Metrics of plans against steps: pure functions (`functional`) and the torchmetrics that average them over ranks (`plan_metrics`).
How the owners of benchmarks score a step is in `rules`, and what becomes of an episode's verdicts in `episodes`.

They know nothing of rewards, rollouts or executors; what they share with the rewards is `tracer1.alignment`. Whatever needs torch is
loaded when it is first asked for: scoring a file of actions does not wait for it.
"""

from typing import Any

from tracer1.metrics.functional import click_accuracy, format_score, step_success, trajectory_reward, type_match

__all__ = [
    "PlanMean",
    "PlanMetrics",
    "click_accuracy",
    "format_score",
    "step_success",
    "trajectory_reward",
    "type_match",
]


def __getattr__(name: str) -> Any:
    if name in ("PlanMean", "PlanMetrics"):
        from tracer1.metrics import plan_metrics

        return getattr(plan_metrics, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
