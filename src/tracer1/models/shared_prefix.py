"""One prompt, n responses: the prompt (and its image) is encoded once, and its key-value cache serves every response of the group.

Used by the engine's sampling and by the old, reference and update passes alike, with gradients where they are wanted.
It knows nothing of sampling, rewards or losses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, Qwen3VLForConditionalGeneration

from tracer1.models.batch import PromptBatch, ResponseBatch

_LOGIT_ROWS = 4096  # rows of (rows, vocabulary) logits that exist at a time


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
    """Encodes B prompts with their images once, and spreads the cache over N = B x G rows."""
    cache = DynamicCache(config=model.config.get_text_config())
    out = model.model(
        input_ids=prompts.input_ids,
        attention_mask=prompts.attention_mask,
        position_ids=prompts.position_ids,
        pixel_values=prompts.pixel_values,
        image_grid_thw=prompts.image_grid_thw,
        past_key_values=cache,
        use_cache=True,
    )
    if group_size > 1:
        cache.batch_repeat_interleave(group_size)
    return Prefix(
        cache,
        prompts.attention_mask.repeat_interleave(group_size, dim=0),
        prompts.next_position.repeat_interleave(group_size, dim=0),
        out.last_hidden_state[:, -1].repeat_interleave(group_size, dim=0),
    )


def extend(model: Qwen3VLForConditionalGeneration, prefix: Prefix, input_ids: Tensor, mask: Tensor) -> Tensor:
    """Reads R more tokens per row, (N, R) with mask (N, R), after the prefix; returns their hidden states (N, R, H).

    M-RoPE: text after an image goes on from the largest position so far, the same on all three axes.
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
    return out.last_hidden_state


def next_logits(model: Qwen3VLForConditionalGeneration, prefix: Prefix) -> Tensor:
    """(N, V) float32 logits of the token after everything read so far."""
    return model.lm_head(prefix.last_hidden).float()


def response_logprobs(
    model: Qwen3VLForConditionalGeneration, prompts: PromptBatch, responses: ResponseBatch, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-probs of every response token, (N, R), and the entropy of the distribution it came from, (N, R), if asked for.

    Values at padding are finite and meaningless: mask them. The entropy carries no gradient.
    """
    group_size = responses.input_ids.shape[0] // prompts.input_ids.shape[0]
    prefix = prefill(model, prompts, group_size)
    hidden = prefix.last_hidden[:, None]
    if responses.input_ids.shape[1] > 1:
        rest = extend(model, prefix, responses.input_ids[:, :-1], responses.mask[:, :-1])
        hidden = torch.cat([hidden, rest], dim=1)
    return _token_logprobs(model, hidden, responses.input_ids, entropy)


def _token_logprobs(
    model: Qwen3VLForConditionalGeneration, hidden: Tensor, targets: Tensor, entropy: bool
) -> tuple[Tensor, Tensor | None]:
    """(N, R, H) hidden states and the (N, R) tokens they predict -> log-probs (N, R) and entropies, a block of rows at a time."""
    logprobs, entropies = [], []
    for rows, ids in zip(hidden.flatten(0, 1).split(_LOGIT_ROWS), targets.flatten().split(_LOGIT_ROWS), strict=True):
        logits = model.lm_head(rows)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        normaliser = logits.logsumexp(-1)
        logprobs.append(logits.gather(-1, ids[:, None])[:, 0] - normaliser)
        if entropy:
            with torch.no_grad():
                entropies.append(normaliser - (logits.softmax(-1) * logits).sum(-1))
    return torch.cat(logprobs).view_as(targets), torch.cat(entropies).view_as(targets) if entropy else None
