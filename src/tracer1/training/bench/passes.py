"""The training-side passes of a GRPO step (old, reference, update) by the shared-prefix or the dense path, timed or counted.

It knows nothing of sampling, rewards or optimizers: those are the same for both paths.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from tracer1.models.backbone import Backbone
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.dense import dense_logprobs
from tracer1.models.shared_prefix import response_logprobs
from tracer1.training.bench.cases import Case, make_backbone, make_prompts, make_responses
from tracer1.training.bench.children import Gate

Path = Callable[..., tuple[Tensor, Tensor | None]]  # (model, prompts, responses) -> log-probs (N, R)
PATHS: dict[str, Path] = {"shared": response_logprobs, "dense": dense_logprobs}
PASSES = ("old", "reference", "update")


@dataclass
class Batch:
    """One micro-batch with the whole case in it."""

    prompts: PromptBatch
    responses: ResponseBatch
    advantages: Tensor  # (N,)

    @classmethod
    def of(cls, case: Case, backbone: Backbone) -> "Batch":
        """The case's prompts and responses, collated as the loop does it."""
        responses = ResponseBatch.collate(make_responses(case), backbone.pad_id)
        prompts = PromptBatch.collate(make_prompts(backbone, case), backbone.pad_id, backbone.rope_index)
        advantages = torch.linspace(-1, 1, case.group_size).repeat(case.prompts)
        return cls(prompts.to(case.device), responses.to(case.device), advantages.to(case.device))


def do_passes(
    path: Path,
    model: Qwen3VLForConditionalGeneration,
    reference: Qwen3VLForConditionalGeneration,
    batch: Batch,
    around: Callable[[str], object] = lambda name: _nothing(),
) -> None:
    """Old and reference log-probs without gradients, then the update's forward and backward pass.

    Args:
        path: How log-probs are computed.
        model, reference: Of the same shape.
        batch: The whole micro-batch.
        around: name of the pass -> a context to run it in.
    """
    read = (batch.prompts, batch.responses)
    with torch.no_grad():
        with around("old"):
            old, _ = path(model, *read)
        with around("reference"):
            ref, _ = path(reference, *read)
    with around("update"):
        logprobs, _ = path(model, *read)
        surrogate = -(logprobs - old).exp() * batch.advantages[:, None]
        kl = (ref - logprobs).exp() - (ref - logprobs) - 1
        ((surrogate + 0.01 * kl) * batch.responses.mask).sum().backward()
    model.zero_grad(set_to_none=True)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def run(gate: Gate, case: Case, name: str, checkpointing: bool = False) -> None:
    """The three passes once for every turn of the gate (the first, a warm-up, with one short response).

    It is run in a process of its own by `children.Side`.
    """
    backbone = make_backbone(case)
    model = backbone.model.to(case.device, getattr(torch, case.dtype)).train()
    reference = make_backbone(case).model.to(case.device, getattr(torch, case.dtype)).eval().requires_grad_(False)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    batch = Batch.of(case, backbone)
    gate.facts = {
        "prompt_tokens": int(batch.prompts.attention_mask.sum()),
        "response_tokens": int(batch.responses.mask.sum()),
    }
    if not gate.turn():
        return
    short = replace(case, response_tokens=8, prompts=1, group_size=1)  # enough for a warm-up
    do_passes(PATHS[name], model, reference, Batch.of(short, backbone))
    while gate.turn():
        do_passes(PATHS[name], model, reference, batch)
