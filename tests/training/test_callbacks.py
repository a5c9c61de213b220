"""Around the rounds: skipped updates leave no trace, figures and validations come when they should, positions are kept."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import Tensor

from tracer1.errors import CheckpointError, TrainingDiverged
from tracer1.training.callbacks import RoundLog, RunPosition, SkipNonFinite, Validate


class Line(L.LightningModule):
    """y = w x under AdamW, with a history of its weights and optimizer states after each update."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(3))
        self.seen: list[list[Tensor]] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.w * batch).square().sum()

    def on_train_batch_end(self, *_: object) -> None:
        state = self.trainer.optimizers[0].state[self.w]
        self.seen.append([self.w.detach().clone(), *(state[name].clone() for name in sorted(state))])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.1, weight_decay=0.1)


def fit(batches: list[float], callbacks: list[L.Callback], module: L.LightningModule | None = None, **settings) -> Line:
    module = module or Line()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=settings.pop("max_epochs", 1),
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        **settings,
    )
    loader = torch.utils.data.DataLoader([torch.full((3,), value) for value in batches], batch_size=None)
    trainer.fit(module, train_dataloaders=loader)
    return module


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])  # 1e30: a finite loss's gradient overflows
def test_a_skipped_update_leaves_weights_and_optimizer_as_they_were(bad: float):
    guard = SkipNonFinite(3)
    module = fit([1.0, 2.0, bad, 0.5], [guard])
    assert guard.skipped == 1
    assert not same(module.seen[0], module.seen[1])
    assert same(module.seen[1], module.seen[2])
    assert not same(module.seen[2], module.seen[3])
    assert module.w.isfinite().all()
    assert guard.grad_norm > 0


def test_one_bad_micro_batch_spoils_its_whole_update_and_no_other():
    guard = SkipNonFinite(3)
    module = fit([1.0, 1.0, math.nan, 1.0, 1.0, 1.0], [guard], accumulate_grad_batches=2)
    assert guard.skipped == 1
    assert same(module.seen[1], module.seen[3])
    assert not same(module.seen[3], module.seen[5])


def test_too_many_in_a_row_abort():
    guard = SkipNonFinite(2)
    fit([1.0, math.nan, 1.0, math.nan, 1.0], [guard])  # never in a row
    assert guard.skipped == 2
    with pytest.raises(TrainingDiverged, match=r"2 updates in a row .* \(update 2\).* lower optimizer.lr"):
        fit([1.0, math.nan, math.nan, 1.0], [SkipNonFinite(2)])


def test_counting_goes_on_after_a_checkpoint():
    guard = SkipNonFinite(2)
    guard.load_state_dict({"skipped": 4, "in_a_row": 1})
    assert guard.state_dict() == {"skipped": 4, "in_a_row": 1}
    with pytest.raises(TrainingDiverged):
        fit([math.nan], [guard])
    assert guard.skipped == 5


class FakeStream:
    """Counts its rounds."""

    def __init__(self) -> None:
        self.round = 0

    def position(self) -> dict[str, int]:
        return {"round": self.round}

    def restore(self, position: dict[str, int]) -> None:
        self.round = position["round"]

    def end_round(self) -> dict[str, float]:
        self.round += 1
        return {"reward/total": 0.1 * self.round}

    def check(self, figures: dict[str, float]) -> None:
        if figures.get("rollout/logprob_error", 0) > 1:
            raise TrainingDiverged("engine and trainer disagree")


class FakeLogger:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.run_id = "abc"

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((step, metrics))


def test_positions_go_into_the_checkpoint_and_back():
    stream = FakeStream()
    stream.round = 3
    state = RunPosition(stream, FakeLogger()).state_dict()
    assert state == {"positions": [{"round": 3}], "run_id": "abc"}
    other = FakeStream()
    RunPosition(other, None).load_state_dict(state)
    assert other.round == 3
    with pytest.raises(CheckpointError, match=r"written by another recipe \(it holds no 'round'\)"):
        RunPosition(other, None).load_state_dict({"positions": [{"given": 3}], "run_id": None})


def test_a_round_is_logged_once_with_its_update_count():
    logger, guard = FakeLogger(), SkipNonFinite(3)
    trainer = SimpleNamespace(
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.5}])], current_epoch=4, global_step=20, logger=logger
    )
    guard.skipped, guard.grad_norm = 2, 1.5
    RoundLog(FakeStream(), guard).on_train_epoch_end(trainer, SimpleNamespace(pop_figures=lambda: {"policy/kl": 0.25}))
    expected = {
        "reward/total": 0.1,
        "policy/kl": 0.25,
        "optim/lr": 0.5,
        "optim/grad_norm": 1.5,
        "optim/skipped": 2.0,
        "round": 5,
    }
    assert logger.lines == [(20, expected)]


@pytest.mark.parametrize(
    ("every", "begun", "expected"), [(2, 0, [0, 2, 4, 5]), (5, 0, [0, 5]), (7, 0, [0, 5]), (2, 3, [4, 5])]
)
def test_validations_come_first_last_and_in_between(every: int, begun: int, expected: list[int]):
    """A run that goes on from a checkpoint has the first one already; figures without a value are left out."""
    logger = FakeLogger()
    evaluator = SimpleNamespace(run=lambda policy: ({"val/a/x": 1.0, "val/a/y": math.nan}, []))
    callback = Validate(evaluator, every, 16, logger)
    trainer = SimpleNamespace(current_epoch=begun, max_epochs=5, global_step=0, is_global_zero=True)
    callback.on_train_start(trainer, None)
    for trainer.current_epoch in range(begun, 5):
        callback.on_train_epoch_end(trainer, None)
    assert [line["round"] for _, line in logger.lines] == expected
    assert all(line.keys() == {"val/a/x", "round"} for _, line in logger.lines)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adagrad])
def test_a_skip_is_one_for_every_optimizer(make: Callable[..., torch.optim.Optimizer]):
    class Other(Line):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return make(self.parameters(), lr=0.1, weight_decay=0.1)

        def on_train_batch_end(self, *_: object) -> None:
            self.seen.append([self.w.detach().clone()])

    module = fit([1.0, math.nan], [SkipNonFinite(3)], Other())
    assert same(module.seen[0], module.seen[1])
