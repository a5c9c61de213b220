"""Sampling: a prompt and its pictures are encoded once, and their keys and values stand there once for every response of the group.

It knows nothing of how tokens are drawn, nor of rewards or losses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, Qwen3VLForConditionalGeneration

from tracer1.models import attention
from tracer1.models.batch import PromptBatch
from tracer1.models.decoding import PromptKeys
from tracer1.models.vision import picture_features, put_pictures


@dataclass
class Prefix:
    """B encoded prompts, and what G responses to each have said so far: N = B x G rows."""

    prompts: PromptKeys
    responses: Cache  # (N, key heads, r, D) in every layer
    next_position: Tensor  # (N,)
    last_hidden: Tensor  # (N, H) hidden state that predicts the next token

    def select(self, rows: Tensor) -> None:
        """Keeps only these rows: responses that have ended need no further work."""
        self.prompts = self.prompts.select(rows)
        self.responses.batch_select_indices(rows)
        self.next_position, self.last_hidden = self.next_position[rows], self.last_hidden[rows]


def prefill(model: Qwen3VLForConditionalGeneration, prompts: PromptBatch, group_size: int) -> Prefix:
    """Encodes B prompts with their pictures once, for N = B x G rows."""
    assert model.config.text_config._attn_implementation == attention.NAME, "another attention would ignore the prompts"
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
    group = torch.arange(len(prompts.input_ids), device=embeds.device).repeat_interleave(group_size)
    layers = [(layer.keys, layer.values) for layer in cache.layers]
    return Prefix(
        PromptKeys(layers, prompts.attention_mask.bool(), group),
        DynamicCache(config=model.config.get_text_config()),
        prompts.next_position[group],
        out.last_hidden_state[:, -1][group],
    )


def extend(model: Qwen3VLForConditionalGeneration, prefix: Prefix, input_ids: Tensor) -> None:
    """Reads one more token per row, (N, 1), after the prefix.

    M-RoPE: text after a picture goes on from the largest position so far, the same on all three axes.
    """
    out = model.model.language_model(
        inputs_embeds=model.get_input_embeddings()(input_ids),
        attention_mask=prefix.prompts.mask[
            :, None, None
        ],  # of four axes: nothing is made of it, and attention has its own
        position_ids=prefix.next_position[:, None].expand(3, -1, -1),
        past_key_values=prefix.responses,
        use_cache=True,
        prompts=prefix.prompts,
    )
    prefix.next_position = prefix.next_position + 1
    prefix.last_hidden = out.last_hidden_state[:, -1]


def next_logits(model: Qwen3VLForConditionalGeneration, prefix: Prefix) -> Tensor:
    """(N, V) float32 logits of the token after everything read so far."""
    return model.lm_head(prefix.last_hidden).float()
