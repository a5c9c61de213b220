"""The frozen reference of the KL term. It is never a child of the policy, so it is neither saved nor trained with it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Protocol, Self

import lightning as L
import torch
from torch import Tensor

from tracer1.models.adapters import adapters_off
from tracer1.models.backbone import load_backbone
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.group_forward import GroupForward
from tracer1.models.liger import use_liger
from tracer1.models.options import ModelOptions
from tracer1.models.policy import PolicyModule


class Reference(Protocol):
    """Log-probs of the policy as it was when the stage began."""

    def awake(self, device: torch.device) -> AbstractContextManager[None]:
        """While entered, `logprobs` answers, on that device."""

    def logprobs(self, prompts: PromptBatch, responses: ResponseBatch) -> Tensor:
        """(N, R) log-probs of the response tokens, without gradients."""


class ReferenceModule(L.LightningModule):
    """A second copy of the weights.

    Args:
        path: The model's folder or hub name.
        options: How it is held; what concerns training is left out.
        top_p: As for the policy.
    """

    def __init__(self, path: str, options: ModelOptions | None = None, top_p: float | None = None) -> None:
        super().__init__()
        self.options = options or ModelOptions()
        self.model = load_backbone(path, self.options.dtype, self.options.attention).model.eval().requires_grad_(False)
        use_liger(self.model, self.options.liger)
        self.forward_groups = GroupForward(self.options.shared_prefix, self.options.min_shared_prefix, top_p)
        self.own_tower = True  # its pictures look different from the policy's
        self.autocast: Callable[[], AbstractContextManager] = nullcontext  # the policy's, so that both round alike

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode whatever the trainer asks for."""
        return super().train(False)

    @contextmanager
    def awake(self, device: torch.device) -> Iterator[None]:
        """On that device while entered; afterwards it stays there, or waits in main memory."""
        self.to(device)
        try:
            yield
        finally:
            if self.options.reference_offload:
                self.to("cpu")

    @torch.no_grad()
    def logprobs(self, prompts: PromptBatch, responses: ResponseBatch) -> Tensor:
        """(N, R) log-probs of the response tokens."""
        if self.own_tower:
            prompts = replace(prompts, features=None)
        with self.autocast():
            return self.forward_groups(self.model, prompts, responses)[0]


class AdapterReference:
    """The policy itself with its adapters switched off: no second copy of the weights."""

    def __init__(self, policy: PolicyModule) -> None:
        self.policy = policy

    @contextmanager
    def awake(self, device: torch.device) -> Iterator[None]:
        """The policy is where it is."""
        yield

    def logprobs(self, prompts: PromptBatch, responses: ResponseBatch) -> Tensor:
        """(N, R) log-probs of the response tokens."""
        with adapters_off(self.policy.model):
            return self.policy.logprobs(prompts, responses)


def make_reference(policy: PolicyModule, path: str) -> Reference:
    """The reference at `path`, or the policy without its adapters where it has some."""
    if policy.options.lora is not None:
        return AdapterReference(policy)
    reference = ReferenceModule(path, policy.options, policy.forward_groups.top_p)
    reference.autocast = policy.autocast
    mine, its = (module.model.model.visual.state_dict() for module in (policy, reference))
    reference.own_tower = not all(torch.equal(mine[name], its[name]) for name in mine)
    return reference
