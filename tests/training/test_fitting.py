"""What a training tells its logger, when."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tracer1.errors import CheckpointError
from tracer1.training import fitting


class Told:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.results_follow = False
        self.statuses: list[str] = []

    def log_hyperparams(self, config: object) -> None:
        """Nothing."""

    def start(self) -> None:
        """Nothing."""

    def finalize(self, status: str) -> None:
        self.statuses.append(status)


def train(logger: Told, folder: Path) -> None:
    run = SimpleNamespace(logger=logger, config={}, output_dir=folder)
    trainer = SimpleNamespace(fit=lambda *_, **__: logger.finalize(f"success, to follow: {logger.results_follow}"))
    fitting.fit_and_export(run, trainer, None, None, None)


def test_a_policy_that_cannot_be_written_is_a_failed_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def full(*_: object) -> None:
        raise CheckpointError("the disk is full")

    monkeypatch.setattr(fitting, "_write_results", full)
    logger = Told()
    with pytest.raises(CheckpointError):
        train(logger, tmp_path)
    assert logger.statuses == ["success, to follow: True", "failed"]  # the first one does not wait, the second one does
