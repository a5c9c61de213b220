"""The progress line and the final summary, on a terminal and off it."""

import io
import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from rich.console import Console

from tracer1.tracking.journal import Journal
from tracer1.training.progress import ProgressReporter, RoundProgress, duration
from tracer1.training.summary import final_summary, run_rows


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def reporter(terminal: bool, clock: Clock) -> tuple[ProgressReporter, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=110, color_system=None)
    return ProgressReporter(console, plain_every_s=30, clock=clock), out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (12, "12 s"), (245, "4 min 05 s"), (11520, "3 h 12 min"), (183600, "2 d 03 h")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_time_left_follows_the_last_rounds() -> None:
    clock = Clock()
    shown, _ = reporter(False, clock)
    shown.start(4)
    shown.round_start(1)
    assert shown.seconds_left() is None
    clock.now = 10
    shown.round_end(1, {"reward/total": torch.tensor(0.25), "rollout/tokens_per_s": 1234.5})
    assert shown.seconds_left() == 30
    shown.round_start(2)
    clock.now = 14
    assert shown.seconds_left() == 26
    clock.now = 100  # a round that takes longer than the mean
    assert shown.seconds_left() == 20
    assert shown.line() == "round 2/4  starting  1,234 tokens/s  reward 0.250  20 s left"


def test_resumed_training_counts_only_what_is_left() -> None:
    clock = Clock()
    shown, _ = reporter(False, clock)
    shown.start(10, finished=7)
    shown.round_start(8)
    clock.now = 5
    shown.round_end(8, {})
    assert shown.seconds_left() == 10


def test_off_a_terminal_a_plain_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    shown, out = reporter(False, clock)
    caplog.set_level(logging.INFO, "tracer1.training.progress")
    shown.start(3)
    for round_ in (1, 2, 3):
        shown.round_start(round_)
        for done in range(10):
            shown.stage("generating", done, 10, tokens_per_s=2000.0, ties=0.25)
            clock.now += 1
        shown.round_end(round_, {"reward/total": round_ / 10})
    shown.stop()
    lines = [record.message for record in caplog.records]
    assert lines == [
        "starting",
        "round 1/3  done  2,000 tokens/s  reward 0.100  ties 0.25  20 s left",
        "round 3/3  done  2,000 tokens/s  reward 0.300  ties 0.25  0 s left",
    ]
    assert out.getvalue() == ""


def test_on_a_terminal_one_line_is_redrawn_and_logs_stay_above() -> None:
    shown, out = reporter(True, Clock())
    root, log_out = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(log_out)  # a log file is left alone
    root.addHandler(handler)
    try:
        shown.start(5)
        shown.round_start(2)
        shown.stage("scoring", 3, 8, reward=0.5)
        root.warning("to the file")
        shown.stop()
    finally:
        root.removeHandler(handler)
    assert log_out.getvalue() == "to the file\n"
    last = [line for line in out.getvalue().splitlines() if "round" in line][-1]
    for part in ("round 2/5", "scoring 3/8", "reward 0.500"):
        assert part in last


def test_disabled_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    shown, out = reporter(True, Clock())
    shown.enabled = False
    shown.start(5)
    shown.stage("generating")
    shown.stop()
    assert out.getvalue() == ""
    assert not caplog.records


class Toy(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        self.log("reward/total", 0.5, on_step=False, on_epoch=True)
        return self.layer(batch).square().mean()

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_lightning_drives_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tracer1.training.progress")
    bar = RoundProgress(plain_every_s=0)
    bar.reporter.console = Console(file=io.StringIO())
    quiet = {"enable_model_summary": False, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    trainer = Trainer(max_epochs=2, callbacks=[bar], default_root_dir=tmp_path, num_sanity_val_steps=0, **quiet)
    assert trainer.progress_bar_callback is bar
    trainer.fit(Toy(), torch.ones(2, 1), torch.ones(1, 1))
    lines = [record.message for record in caplog.records if record.name == "tracer1.training.progress"]
    assert lines[:6] == [
        "starting",
        "round 1/2  starting",
        "round 1/2  updating 1/2",
        "round 1/2  updating 2/2",
        "round 1/2  validating",
        "round 1/2  validating 1/1",
    ]
    assert lines[-1] == "round 2/2  done  reward 0.500  0 s left"
    caplog.clear()
    trainer.validate(Toy(), torch.ones(1, 1), verbose=False)
    assert caplog.records[-1].message.startswith("round 2/2  validating 1/1")


def test_summary_fits_one_screen_and_says_what_was_gained(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    for k in range(5):
        journal.append(
            {"time": 1.0, "round": k + 1, "step": k, "reward/total": 0.1 * k, "optim/skipped": 1.0 * (k >= 2)}
        )
    for k in (0, 4):
        journal.append({"time": 1.0, "step": k, **{f"val/toy/metric{i}": 0.1 * k for i in range(15)}})
    rows = run_rows(tmp_path, 245.0)
    assert rows["rounds"] == "5"
    assert rows["wall time"] == "4 min 05 s"
    assert rows["reward, first → last"] == "0.000 → 0.400"
    assert rows["val/toy/metric0"] == "0.000 → 0.400"
    assert rows["val/…"].startswith("7 more")
    assert rows["skipped updates"] == "1"
    out = io.StringIO()
    command = "mlflow ui --backend-store-uri sqlite:////" + "long/" * 30 + "mlflow.db"
    final_summary({**rows, "checkpoints": tmp_path / ("x" * 90)}, "[run]", [command], Console(file=out, width=80))
    text = out.getvalue()
    assert len(text.splitlines()) <= 24
    assert command in text
    assert "[run]" in text
    assert "\x1b" not in text


def test_summary_of_a_run_without_figures(tmp_path: Path) -> None:
    assert run_rows(tmp_path, 1.0) == {"wall time": "1 s"}
