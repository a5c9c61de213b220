"""Studies: the same chain of trainings under several values of one variable and several seeds, each scored and logged to MLflow.

`plan.py` says what a job consists of and what determines it, `job.py` does one job of the sweep. Neither knows how a training or an
evaluation works, and neither loads torch.
"""

from tracer1.training.study.job import Afterwards, run_job

__all__ = ["Afterwards", "run_job"]
