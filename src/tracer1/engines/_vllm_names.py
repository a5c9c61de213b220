"""Qwen3-VL's weights under vLLM 0.32's names. It knows no tensor."""

_PREFIXES = {
    "model.visual.": "visual.",
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
}


def name_in_vllm(name: str) -> str:
    """A Hugging Face name as vLLM's model calls the tensor."""
    for ours, theirs in _PREFIXES.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
