"""How alike two sentences are, by the embeddings of a sentence transformer, run with transformers alone. It knows no benchmark.

It does what sentence-transformers does for `sentence-transformers/all-mpnet-base-v2`: texts cut at 384 tokens, the mean of the last
layer over the tokens, the cosine of two such means.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tracer1.errors import ConfigError
from tracer1.metrics.answer_rules import Similarity

if TYPE_CHECKING:
    import torch

LONGEST = 384  # tokens of a text, the model's own setting


def sentence_similarity(model: str) -> Similarity:
    """The cosine, -1..1, of two texts' embeddings.

    Args:
        model: A folder, or a name on the hub: `sentence-transformers/all-mpnet-base-v2` is GTA's.

    Raises:
        ConfigError: the model cannot be loaded.
    """
    import torch  # only now: other rules need no model
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        network = AutoModel.from_pretrained(model, dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        there = "the folder holds no such model" if Path(model).is_dir() else "no such folder, nor found on the hub"
        raise ConfigError(
            f"The embedder {model!r} cannot be loaded: {there} ({' '.join(str(error).split()):.100}). Give the folder of a downloaded "
            "sentence-transformers/all-mpnet-base-v2."
        ) from None

    @cache  # a gold sentence meets many answers
    def embedded(text: str) -> "torch.Tensor":
        tokens = tokenizer([text], truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            return mean_of_tokens(network(**tokens).last_hidden_state, tokens["attention_mask"])[0]

    def similarity(one: str, other: str) -> float:
        return float(torch.nn.functional.cosine_similarity(embedded(one), embedded(other), dim=0))

    return similarity


def mean_of_tokens(states: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """(B, T, D) states and their (B, T) mask -> (B, D) means over the tokens that are there."""
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
