"""The tiny planner: the Qwen3-VL classes with a small configuration and a small tokenizer, for laptops and tests.

It knows how to make one with random weights; `+experiment=warmstart` teaches it.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tracer1.models.attention import kinds
from tracer1.models.backbone import Backbone
from tracer1.models.vision import use_linear_patches

# Qwen's control tokens, in Qwen's order; the think tags are ordinary added tokens there too
CONTROL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
THINK_TOKENS = ("<think>", "</think>")
# Every digit is a token of its own, as in Qwen's tokenizer: a merge would hide how places are written. Other words keep
# their punctuation, so that `{"screenshot_abstraction":` becomes one token and a plan stays short.
_PIECES = Regex(r"[0-9]| ?[^\s0-9]+|\s+(?!\S)|\s+")

# Qwen3-VL-Thinking's layout: roles between <|im_start|> and <|im_end|>, pictures as a placeholder, and an opened <think>
_CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- else -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<think>' -}}{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str], vocabulary: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE over `texts` with Qwen's control tokens and chat layout."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = vocabulary - len(THINK_TOKENS)
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(CONTROL_TOKENS), initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(list(THINK_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        chat_template=_CHAT_TEMPLATE,
        model_max_length=8192,
    )


def tiny_config(
    tokenizer: PreTrainedTokenizerFast, width: int = 160, layers: int = 4, vision_width: int = 96
) -> Qwen3VLConfig:
    """The configuration: about 2.3 M parameters at the defaults; DeepStack after every vision layer but the last."""
    token = tokenizer.convert_tokens_to_ids
    heads = width // 32
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": width * 5 // 2,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 3,
        "head_dim": 32,
        "max_position_embeddings": 8192,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [8, 4, 4],
            "mrope_interleaved": True,
        },
        "pad_token_id": token("<|endoftext|>"),
    }
    vision = {
        "depth": 4,
        "hidden_size": vision_width,
        "intermediate_size": vision_width * 5 // 2,
        "num_heads": vision_width // 32,
        "out_hidden_size": width,
        "num_position_embeddings": 24 * 24,
        "deepstack_visual_indexes": [1, 2],
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def make_tiny_planner(texts: Iterable[str], seed: int = 0, pixels: tuple[int, int] = (32_768, 65_536)) -> Backbone:
    """A tiny planner with random weights.

    Args:
        texts: What its tokenizer is trained on: prompts and plans of the kind it will read and write.
        seed: Of the weights.
        pixels: Least and most pixels of the resized screenshot (160 x 210 becomes 160 x 224).
    """
    tokenizer = train_tokenizer(texts)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(tiny_config(tokenizer))
    model.set_attn_implementation(kinds())
    use_linear_patches(model)
    end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=end[1])
    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": pixels[0], "longest_edge": pixels[1]},
        patch_size=16,
        temporal_patch_size=2,
        merge_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return Backbone(model, tokenizer, processor)


def save_half(backbone: Backbone, folder: Path) -> None:
    """Writes the planner in bfloat16, half the size, for shipping; it is trained in float32 again."""
    backbone.model.to(torch.bfloat16)
    backbone.save(folder)
