"""Executors run the first step of a plan with something frozen, and say what came of it. They know nothing of rewards.

An executor is a class with `execute(rollouts) -> list[Outcome]` (see `interfaces.Executor`), registered under its file's name.
A bad action is `Outcome(error=...)`, a verdict; where the infrastructure failed for good it is `Outcome(fault=...)`, none.
"""

from tracer1.registry import Registry

EXECUTORS = Registry("executor", "tracer1.executors")
