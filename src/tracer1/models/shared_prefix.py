"""One prompt, n responses, one forward: the prompt and its pictures are encoded once per group, with all gradients.

Used by the old, reference and update passes alike. It knows nothing of sampling, rewards or losses.
"""

from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from tracer1.models import attention
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.head import token_scores
from tracer1.models.packing import Pack
from tracer1.models.vision import picture_features, put_pictures


def response_logprobs(
    model: Qwen3VLForConditionalGeneration,
    prompts: PromptBatch,
    responses: ResponseBatch,
    entropy: bool = False,
    top_p: float | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Log-probs of every response token, (N, R), and the entropy of the distribution it came from, (N, R), if asked for.

    Groups are packed into one row without padding; each response attends to its prompt and to itself, and its M-RoPE positions
    go on from the prompt's. Values at padding are 0; the entropy carries no gradient.
    """
    assert model.config.text_config._attn_implementation == attention.NAME, "another attention would ignore the layout"
    pack = Pack.of(prompts, responses, model.config.image_token_id)
    embeds = model.get_input_embeddings()(pack.input_ids)
    embeds, deepstack = put_pictures(embeds, pack.picture, picture_features(model, prompts))
    hidden = model.model.language_model(
        inputs_embeds=embeds, position_ids=pack.position_ids, use_cache=False, layout=pack.layout, **deepstack
    ).last_hidden_state[0]
    return scores_in_rows(model, hidden.index_select(0, pack.predictor), responses, entropy, top_p)


def scores_in_rows(
    model: Qwen3VLForConditionalGeneration, hidden: Tensor, responses: ResponseBatch, entropy: bool, top_p: float | None
) -> tuple[Tensor, Tensor | None]:
    """The hidden states (T, H) that predict the T response tokens -> log-probs and entropies (N, R), 0 at padding."""
    sampled = responses.mask.bool()
    found = token_scores(model.lm_head, hidden, responses.input_ids[sampled], entropy, top_p)

    def rows(values: Tensor) -> Tensor:
        return values.new_zeros(sampled.shape).masked_scatter(sampled, values)

    return rows(found.logprobs), rows(found.entropy) if entropy else None
