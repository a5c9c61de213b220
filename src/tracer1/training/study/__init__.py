"""Studies: the same chain of trainings under several values of one variable and several seeds, each scored and logged to MLflow.

`plan.py` says what a job consists of and what determines it, `commands.py` runs entry points in processes of their own, `job.py` does
one job of the sweep. None of them knows how a training or an evaluation works, and none loads torch.
"""

from tracer1.training.study.job import Afterwards, run_job

__all__ = ["Afterwards", "run_job"]
