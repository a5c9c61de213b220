"""Supervised fine-tuning: place tokens weigh more, the learning rate's course, figures as token means."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tracer1.errors import CheckpointError
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.sft import SFTBatch, SFTModule, place_mask, warmup_constant_decay
from tracer1.models.shared_prefix import response_logprobs


@pytest.mark.parametrize(
    ("offsets", "spans", "mask"),
    [
        # "at [12, 7] go" -> at| [|1|2|,| |7|] |go: the span of "12, 7]" is 4..10
        (
            [(0, 2), (2, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10), (10, 13)],
            [(4, 10)],
            [0, 0, 1, 1, 1, 1, 1, 1, 0],
        ),
        ([(0, 4), (4, 8), (8, 12)], [(3, 5)], [1, 1, 0]),  # a token that is only partly a place counts
        ([(0, 4), (4, 8), (8, 12)], [(4, 8)], [0, 1, 0]),  # one that only touches it does not
        ([(0, 2), (2, 4), (4, 6), (6, 8)], [(0, 2), (6, 8)], [1, 0, 0, 1]),  # two places
        ([(0, 9)], [(1, 2), (4, 5)], [1]),  # two places in one token
        ([(0, 2), (2, 4)], [], [0, 0]),
        ([], [(0, 4)], []),
    ],
)
def test_place_mask(offsets: list[tuple[int, int]], spans: list[tuple[int, int]], mask: list[float]):
    assert place_mask(offsets, spans) == mask


def test_the_learning_rate_rises_stays_and_falls():
    # 100 updates, 10 of warm-up, the last 40 % a half cosine: at 80 it has come half way down
    factors = [warmup_constant_decay(update, 100, 10, 0.4) for update in range(101)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert factors[10:61] == [1.0] * 51
    assert factors[70] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert factors[80] == pytest.approx(0.5)
    assert factors[100] == 0.0
    assert all(a >= b for a, b in itertools.pairwise(factors[60:]))


def test_a_learning_rate_without_warmup_or_decay_is_constant():
    assert {warmup_constant_decay(update, 50, 0, 0.0) for update in range(50)} == {1.0}
    assert warmup_constant_decay(500, 50, 0, 0.5) == 0.0  # past the planned end


def build(folder: Path, **settings) -> SFTModule:
    module = SFTModule(
        str(folder),
        prompt={"horizon": 5, "style": "brief"},
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=2.0),
        **settings,
    )
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    module.trainer = SimpleNamespace(strategy=strategy, estimated_stepping_batches=100)
    return module


def batch_of(module: SFTModule, prompts) -> SFTBatch:
    pad = module.backbone.pad_id
    responses = ResponseBatch.collate([[20, 21, 22], [23]], pad)
    place = torch.tensor([[0.0, 1, 1], [0, 0, 0]])
    return SFTBatch(
        PromptBatch.collate([prompts["seen"], prompts["blind"]], pad, module.backbone.rope_index), responses, place
    )


def test_place_tokens_weigh_more(tiny_folder: Path, prompts):
    module = build(tiny_folder, place_weight=3.0)
    batch = batch_of(module, prompts)
    nll = -response_logprobs(module.model, batch.prompts, batch.responses)[0].detach()
    tokens = [nll[0, 0], nll[0, 1], nll[0, 2], nll[1, 0]]
    expected = (tokens[0] + 3 * tokens[1] + 3 * tokens[2] + tokens[3]) / 8  # weights 1 + 3 + 3 + 1
    assert module.training_step(batch, 0).item() == pytest.approx(float(expected), rel=1e-5)
    module.training_step(batch, 1)
    figures = module.pop_figures()  # without the weights: what other runs can be compared with
    assert figures["sft/loss"] == pytest.approx(float(sum(tokens)) / 4, rel=1e-5)
    assert figures["sft/place_loss"] == pytest.approx(float(tokens[1] + tokens[2]) / 2, rel=1e-5)


def test_the_schedule_reaches_the_optimizer(tiny_folder: Path):
    module = build(tiny_folder, warmup=4, decay=0.5)
    settings = module.configure_optimizers()
    assert settings["optimizer"].param_groups[0]["lr"] == 2.0 / 4
    assert settings["lr_scheduler"]["interval"] == "step"


def test_a_few_updates_learn_a_response(tiny_folder: Path, prompts):
    module = build(tiny_folder)
    optimizer, batch = torch.optim.AdamW(module.parameters(), lr=3e-3), batch_of(module, prompts)
    losses = []
    for index in range(12):
        loss = module.training_step(batch, index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_checkpoint_of_another_model_is_refused(tiny_folder: Path):
    module, checkpoint = build(tiny_folder), {}
    module.on_save_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match="belongs to another model"):
        module.on_load_checkpoint({})
