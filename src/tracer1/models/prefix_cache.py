"""Sampling: a prompt and its pictures are encoded once, and their key-value cache serves every response of the group.

It knows nothing of how tokens are drawn, nor of rewards or losses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, Qwen3VLForConditionalGeneration

from tracer1.models.batch import PromptBatch
from tracer1.models.vision import picture_features, put_pictures


@dataclass
class Prefix:
    """B encoded prompts, each repeated for the G responses of its group: N = B x G rows."""

    cache: Cache
    mask: Tensor  # (N, columns so far)
    next_position: Tensor  # (N,)
    last_hidden: Tensor  # (N, H) hidden state that predicts the next token

    def select(self, rows: Tensor) -> None:
        """Keeps only these rows: responses that have ended need no further work."""
        self.cache.batch_select_indices(rows)
        self.mask, self.next_position = self.mask[rows], self.next_position[rows]
        self.last_hidden = self.last_hidden[rows]


def prefill(model: Qwen3VLForConditionalGeneration, prompts: PromptBatch, group_size: int) -> Prefix:
    """Encodes B prompts with their pictures once, and spreads the cache over N = B x G rows."""
    cache = DynamicCache(config=model.config.get_text_config())
    embeds = model.get_input_embeddings()(prompts.input_ids)
    picture = (prompts.input_ids == model.config.image_token_id) & prompts.attention_mask.bool()
    embeds, deepstack = put_pictures(embeds, picture, picture_features(model, prompts))
    out = model.model.language_model(
        inputs_embeds=embeds,
        attention_mask=prompts.attention_mask,
        position_ids=prompts.position_ids,
        past_key_values=cache,
        use_cache=True,
        **deepstack,
    )
    if group_size > 1:
        cache.batch_repeat_interleave(group_size)
    return Prefix(
        cache,
        prompts.attention_mask.repeat_interleave(group_size, dim=0),
        prompts.next_position.repeat_interleave(group_size, dim=0),
        out.last_hidden_state[:, -1].repeat_interleave(group_size, dim=0),
    )


def extend(model: Qwen3VLForConditionalGeneration, prefix: Prefix, input_ids: Tensor, mask: Tensor) -> None:
    """Reads R more tokens per row, (N, R) with mask (N, R), after the prefix.

    M-RoPE: text after a picture goes on from the largest position so far, the same on all three axes.
    """
    prefix.mask = torch.cat([prefix.mask, mask.to(prefix.mask.dtype)], dim=1)
    positions = prefix.next_position[:, None] + torch.arange(input_ids.shape[1], device=input_ids.device)
    out = model.model.language_model(
        inputs_embeds=model.get_input_embeddings()(input_ids),
        attention_mask=prefix.mask,
        position_ids=positions.expand(3, -1, -1),
        past_key_values=prefix.cache,
        use_cache=True,
    )
    prefix.next_position = prefix.next_position + input_ids.shape[1]
    prefix.last_hidden = out.last_hidden_state[:, -1]


def next_logits(model: Qwen3VLForConditionalGeneration, prefix: Prefix) -> Tensor:
    """(N, V) float32 logits of the token after everything read so far."""
    return model.lm_head(prefix.last_hidden).float()
