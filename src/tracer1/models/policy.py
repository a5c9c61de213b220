"""PolicyModule: the planner that GRPO trains. It knows nothing of rewards, executors or data sets; a micro-batch is all it sees."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from tracer1.algorithms.grpo import clip_fraction, clipped_surrogate, low_var_kl, token_mean
from tracer1.errors import CheckpointError, TrainingDiverged
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
        max_skipped_updates: Abort after this many non-finite updates in a row.
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
        max_skipped_updates: int = 5,
        dtype: str = "float32",
        attention: str = "sdpa",
    ) -> None:
        super().__init__()
        self.backbone = load_backbone(path, dtype, attention)
        self.model = self.backbone.model
        self.encoder = PromptEncoder(self.backbone, **prompt)
        self.make_optimizer = optimizer
        self.clip_low, self.clip_high, self.clip_dual, self.kl_coef = clip_low, clip_high, clip_dual, kl_coef
        self.max_skipped_updates = max_skipped_updates
        self.skipped_updates = self.skipped_in_a_row = 0
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

    # --- non-finite updates --------------------------------------------------------------------------------------------

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Skips an update whose gradient is not finite.

        Gradients are already the mean over all ranks, so every rank comes to the same decision. An optimizer leaves
        parameters without a gradient, and their moments, exactly as they were.
        """
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters() if p.grad is not None])
        if torch.isfinite(norm):
            self.skipped_in_a_row = 0
            self.grad_norm = float(norm)
            return
        self.skipped_updates += 1
        self.skipped_in_a_row += 1
        for parameter in self.parameters():
            parameter.grad = None
        if self.skipped_in_a_row >= self.max_skipped_updates:
            raise TrainingDiverged(
                f"{self.skipped_in_a_row} updates in a row had a gradient that is not finite (update {self.global_step}). "
                "The last checkpoint is whole: lower optimizer.lr, or look at the rollouts of the last round."
            )

    def configure_optimizers(self) -> Optimizer:
        """One optimizer over the trainable parameters; the learning rate is constant."""
        return self.make_optimizer(p for p in self.parameters() if p.requires_grad)

    # --- checkpoints ---------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes which architecture this is, and the skipped updates."""
        checkpoint["architecture"] = self.architecture
        checkpoint["skipped_updates"] = [self.skipped_updates, self.skipped_in_a_row]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another model with one line instead of hundreds of missing keys."""
        found = checkpoint.get("architecture")
        if found != self.architecture:
            raise CheckpointError(
                f"The checkpoint belongs to another model ({found}) than model.path ({self.architecture}). "
                "Give the model.path that the run began with, or start anew with ckpt_path=null."
            )
        self.skipped_updates, self.skipped_in_a_row = checkpoint["skipped_updates"]

    @property
    def architecture(self) -> str:
        """What two models must share to exchange weights."""
        text, vision = self.model.config.text_config, self.model.config.vision_config
        return (
            f"{self.model.config.model_type}: text {text.num_hidden_layers} x {text.hidden_size}, "
            f"vision {vision.depth} x {vision.hidden_size}, vocabulary {text.vocab_size}"
        )

    def export(self, folder: Path) -> None:
        """Writes a Hugging Face folder with the current weights."""
        self.backbone.save(folder)
