"""PolicyModule: the planner that GRPO trains. It knows nothing of rewards, executors or data sets; a micro-batch is all it sees."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from tracer1.algorithms.grpo import clip_fraction, clipped_surrogate, low_var_kl, token_mean
from tracer1.models.backbone import load_backbone
from tracer1.models.batch import MicroBatch, PromptBatch, ResponseBatch
from tracer1.models.encoder import PromptEncoder
from tracer1.models.sampler import PolicySampler
from tracer1.models.shared_prefix import response_logprobs

OptimizerFactory = Callable[[Iterable[torch.nn.Parameter]], Optimizer]


class PolicyModule(L.LightningModule):
    """A Qwen3-VL under GRPO (method, section 4).

    Args:
        path: The model's folder or hub name.
        prompt: Keyword arguments of PromptEncoder: horizon, style, max_prompt_tokens, pixels.
        optimizer: Makes the optimizer from the parameters.
        clip_low, clip_high, clip_dual: The surrogate's clip range and dual clip.
        kl_coef: Weight of the KL term in the loss.
        dtype, attention: See `load_backbone`.
    """

    def __init__(
        self,
        path: str,
        *,
        prompt: dict[str, Any],
        optimizer: OptimizerFactory,
        clip_low: float = 0.2,
        clip_high: float = 0.3,
        clip_dual: float = 3.0,
        kl_coef: float = 0.01,
        dtype: str = "float32",
        attention: str = "sdpa",
    ) -> None:
        super().__init__()
        self.backbone = load_backbone(path, dtype, attention)
        self.model = self.backbone.model.train()
        self.encoder = PromptEncoder(self.backbone, **prompt)
        self.make_optimizer = optimizer
        self.clip_low, self.clip_high, self.clip_dual, self.kl_coef = clip_low, clip_high, clip_dual, kl_coef
        self._sums: dict[str, Tensor] = {}

    def sampler(self) -> PolicySampler:
        """What the embedded engine samples with."""
        return PolicySampler(self.backbone)

    def logprobs(self, prompts: PromptBatch, responses: ResponseBatch) -> Tensor:
        """(N, R) log-probs of the response tokens, without gradients."""
        with torch.no_grad():
            return response_logprobs(self.model, prompts, responses)[0]

    def training_step(self, batch: MicroBatch, batch_idx: int) -> Tensor:
        """The loss of one micro-batch, scaled so that the update is the token mean over all of them."""
        logprobs, entropy = response_logprobs(self.model, batch.prompts, batch.responses, entropy=True)
        mask, old = batch.responses.mask, batch.old_logprobs
        surrogate = clipped_surrogate(logprobs, old, batch.advantages, self.clip_low, self.clip_high, self.clip_dual)
        kl = low_var_kl(logprobs, batch.ref_logprobs)
        loss = surrogate + self.kl_coef * kl
        clipped = clip_fraction(logprobs.detach(), old, self.clip_low, self.clip_high)
        self._note({"loss": loss, "kl": kl, "entropy": entropy, "clip_fraction": clipped}, mask)
        return token_mean(loss, mask, batch.update_tokens, batch.parts)

    def _note(self, values: dict[str, Tensor], mask: Tensor) -> None:
        """Adds masked sums to the round's totals; `pop_figures` turns them into token means."""
        for name, value in {**values, "tokens": torch.ones_like(mask)}.items():
            total = torch.where(mask.bool(), value.detach(), torch.zeros_like(value)).sum().double()
            self._sums[name] = self._sums.get(name, 0) + total

    def pop_figures(self) -> dict[str, float]:
        """The round's token means over all micro-batches and ranks, under their metric names; the totals start anew."""
        sums, self._sums = self._sums, {}
        if not sums:
            return {}
        sums = {name: self.trainer.strategy.reduce(value, reduce_op="sum") for name, value in sums.items()}
        tokens = sums.pop("tokens")
        return {f"policy/{name}": float(value / tokens) for name, value in sums.items()}

    def configure_optimizers(self) -> Optimizer:
        """One optimizer over the trainable parameters; the learning rate is constant."""
        return self.make_optimizer(p for p in self.parameters() if p.requires_grad)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes which architecture this is."""
        checkpoint["architecture"] = self.backbone.architecture

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another model with one line instead of hundreds of missing keys."""
        self.backbone.check_architecture(checkpoint.get("architecture"))

    def export(self, folder: Path) -> None:
        """Writes a Hugging Face folder with the current weights."""
        self.backbone.save(folder)
