"""The policy as the embedded engine sees it: prefill, next logits, append, decode. It knows nothing of how tokens are drawn."""

from collections.abc import Sequence

from torch import Tensor

from tracer1.models.backbone import Backbone
from tracer1.models.batch import PromptBatch
from tracer1.models.prefix_cache import Prefix, extend, next_logits, prefill
from tracer1.schema import Prompt


class PolicySampler:
    """Implements `engines.transformers.Sampler` for a backbone."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.stop_ids = backbone.stop_ids

    def prefill(self, prompts: Sequence[Prompt], group_size: int) -> Prefix:
        """Encodes B prompts once each, for B x group_size rows."""
        batch = PromptBatch.collate(prompts, self.backbone.pad_id, self.backbone.rope_index)
        return prefill(self.backbone.model, batch.to(self.backbone.model.device), group_size)

    def next_logits(self, state: Prefix) -> Tensor:
        """(N, V) float32 logits of the next token."""
        return next_logits(self.backbone.model, state)

    def append(self, state: Prefix, tokens: Tensor) -> None:
        """Reads one more token (N,) per row."""
        extend(self.backbone.model, state, tokens[:, None])

    def decode(self, token_ids: Sequence[int]) -> str:
        """Response tokens -> text, control tokens left out."""
        return self.backbone.tokenizer.decode(token_ids, skip_special_tokens=True)
