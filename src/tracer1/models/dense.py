"""The plain path: prompt, pictures and vision tower repeated for each response, as every other framework does.

What the shared prefix is checked against, its fall-back, and the other side of the benchmark.
"""

import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from tracer1.models.batch import PictureFeatures, PromptBatch, ResponseBatch
from tracer1.models.shared_prefix import scores_in_rows
from tracer1.models.vision import picture_features, put_pictures


def dense_logprobs(
    model: Qwen3VLForConditionalGeneration,
    prompts: PromptBatch,
    responses: ResponseBatch,
    entropy: bool = False,
    top_p: float | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `shared_prefix.response_logprobs`, one padded row for each response."""
    prompts = repeated(prompts, len(responses.mask) // len(prompts.input_ids), model.config.image_token_id)
    width, read = prompts.input_ids.shape[1], responses.mask[:, 1:]
    ids = torch.cat([prompts.input_ids, responses.input_ids[:, :-1]], dim=1)
    seen = prompts.attention_mask.bool()
    picture = torch.zeros_like(ids, dtype=torch.bool)
    picture[:, :width] = (prompts.input_ids == model.config.image_token_id) & seen
    after = prompts.next_position[:, None] + torch.arange(read.shape[1], device=ids.device)
    embeds, deepstack = put_pictures(model.get_input_embeddings()(ids), picture, picture_features(model, prompts))
    hidden = model.model.language_model(
        inputs_embeds=embeds,
        attention_mask=torch.cat([prompts.attention_mask, read.to(prompts.attention_mask.dtype)], dim=1),
        position_ids=torch.cat([prompts.position_ids, after.expand(3, -1, -1)], dim=2),
        use_cache=False,
        **deepstack,
    ).last_hidden_state
    return scores_in_rows(model, hidden[:, width - 1 :][responses.mask.bool()], responses, entropy, top_p)


def repeated(prompts: PromptBatch, times: int, image_token: int) -> PromptBatch:
    """Each prompt `times` times, with its pictures."""

    def rows(values: Tensor, dim: int = 0) -> Tensor:
        return values.repeat_interleave(times, dim=dim)

    def each(values: Tensor, lengths: list[int]) -> Tensor:
        return torch.cat([part for part in values.split(lengths) for _ in range(times)])

    pixels, grids, features = prompts.pixel_values, prompts.image_grid_thw, prompts.features
    if pixels is not None:
        counts = prompts.pictures.tolist()
        patches = [int(part.prod(1).sum()) for part in grids.split(counts)]
        pixels, grids = each(pixels, patches), each(grids, counts)
    if features is not None:
        tokens = ((prompts.input_ids == image_token) & prompts.attention_mask.bool()).sum(1).tolist()
        deepstack = tuple(each(level, tokens) for level in features.deepstack)
        features = PictureFeatures(each(features.embeds, tokens), deepstack)
    return PromptBatch(
        rows(prompts.input_ids),
        rows(prompts.attention_mask),
        rows(prompts.position_ids, 1),
        rows(prompts.next_position),
        pixels,
        grids,
        rows(prompts.pictures),
        features,
    )
