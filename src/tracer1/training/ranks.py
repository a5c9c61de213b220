"""What ranks tell each other: sums, and errors. With one process it does nothing. It knows nothing of models or data."""

import signal
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from tracer1.errors import Tracer1Error


def several() -> bool:
    """Whether there is anyone to talk to."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if several() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if several() else 1


def summed(values: Sequence[float], device: torch.device) -> list[float]:
    """Each number's sum over all ranks; `device` is where the ranks' tensors meet."""
    if not several():
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def gathered(value: Any) -> list[Any]:
    """Every rank's value, in the order of the ranks."""
    values = [value]
    if several():
        values = [None] * dist.get_world_size()
        dist.all_gather_object(values, value)
    return values


def agreed(run: Callable[..., Any], *args: Any) -> Any:
    """What `run(*args)` gives; where it fails on any rank, every rank raises that error instead of waiting for the others.

    Raises:
        Tracer1Error: this rank's own, or else that of the first rank that has one.
    """
    error, result = None, None
    try:
        result = run(*args)
    except Tracer1Error as own:
        error = own
    errors = [other for other in gathered(error) if other is not None]
    if errors:
        raise error or errors[0]
    return result


def end_others(trainer: L.Trainer) -> None:
    """Ends the processes that Lightning started from this one: they would wait for it in vain, and then complain."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(signal.SIGKILL)
