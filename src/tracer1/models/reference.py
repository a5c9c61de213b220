"""The frozen reference of the KL term. It is never a child of the policy, so it is neither saved nor trained with it."""

from typing import Self

import lightning as L
import torch
from torch import Tensor

from tracer1.models.backbone import load_backbone
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.shared_prefix import response_logprobs


class ReferenceModule(L.LightningModule):
    """The policy as it was when the stage began.

    Args:
        path: The model's folder or hub name.
        dtype: `float32` or `bfloat16`.
        attention: The attention implementation, see `load_backbone`.
    """

    def __init__(self, path: str, dtype: str = "float32", attention: str = "sdpa") -> None:
        super().__init__()
        self.model = load_backbone(path, dtype, attention).model.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode whatever the trainer asks for."""
        return super().train(False)

    @torch.no_grad()
    def logprobs(self, prompts: PromptBatch, responses: ResponseBatch) -> Tensor:
        """(N, R) log-probs of the response tokens."""
        return response_logprobs(self.model, prompts, responses)[0]
