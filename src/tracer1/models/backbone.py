"""Loads a Qwen3-VL (any size, or the tiny planner) with its tokenizer and image processor. It knows nothing about training."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tracer1.errors import CheckpointError, ConfigError
from tracer1.models import attention as grouped
from tracer1.models.adapters import lora_rank, plain_model
from tracer1.models.vision import use_linear_patches

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@dataclass
class Backbone:
    """A model and what turns text and pictures into its inputs."""

    model: Qwen3VLForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    image_processor: Qwen2VLImageProcessorPil

    @property
    def pad_id(self) -> int:
        """The token that fills padding; it is never attended to."""
        return self.tokenizer.pad_token_id

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a response; the tokenizer's where the folder has no generation_config.json."""
        ids = self.model.generation_config.eos_token_id
        ids = self.tokenizer.eos_token_id if ids is None else ids
        return frozenset(ids if isinstance(ids, list) else [ids])

    def rope_index(self, input_ids: Tensor, mask: Tensor, grids: Tensor | None) -> tuple[Tensor, Tensor]:
        """M-RoPE positions (3, B, P) and deltas (B, 1) of padded prompts (B, P)."""
        token_types = (input_ids == self.model.config.image_token_id).int()
        return self.model.model.get_rope_index(input_ids, token_types, image_grid_thw=grids, attention_mask=mask)

    @property
    def architecture(self) -> str:
        """What two models must share to exchange weights."""
        text, vision = self.model.config.text_config, self.model.config.vision_config
        return (
            f"{self.model.config.model_type}: text {text.num_hidden_layers} x {text.hidden_size}, "
            f"vision {vision.depth} x {vision.hidden_size}, vocabulary {text.vocab_size}{lora_rank(self.model)}"
        )

    def check_architecture(self, found: str | None) -> None:
        """Raises CheckpointError unless a checkpoint that says `found` fits this model."""
        if found != self.architecture:
            raise CheckpointError(
                f"The checkpoint belongs to another model ({found}) than model.path ({self.architecture}). "
                "Give the model.path that the run began with, or start anew with ckpt_path=null."
            )

    def save(self, folder: Path) -> None:
        """Writes a Hugging Face folder that transformers and vLLM load."""
        folder.mkdir(parents=True, exist_ok=True)
        plain_model(self.model).save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)


def load_backbone(path: str, dtype: str = "float32", attention: str = "sdpa") -> Backbone:
    """Loads the model at a local folder, or by a hub's name.

    Args:
        path: e.g. `Qwen/Qwen3-VL-8B-Thinking`, `outputs/stage1_gui/policy`, `demo/tiny_planner`.
        dtype: `float32`, `bfloat16` or `float64`.
        attention: Of the vision tower: `sdpa`, `eager` or `flash_attention_2`. Text always attends by `attention.py`.

    Raises:
        ConfigError: no model there, a damaged one, or one of another architecture.
    """
    if dtype not in _DTYPES:
        raise ConfigError(f"model.dtype={dtype!r} is not known; choose one of {', '.join(_DTYPES)}.")
    _check_folder(path)
    try:
        model, report = Qwen3VLForConditionalGeneration.from_pretrained(
            path, dtype=_DTYPES[dtype], attn_implementation=grouped.kinds(attention), output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(path)
        processor = Qwen2VLImageProcessorPil.from_pretrained(path)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # each is raised for some damaged file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"Cannot load the model {path!r}: {reason} Give model.path a folder with config.json and safetensors, or a "
            "hub's name on a machine that reaches the hub."
        ) from error
    use_linear_patches(model)
    backbone = Backbone(model, tokenizer, processor)
    _check_whole(path, backbone, sorted(report["missing_keys"]))
    return backbone


def _check_folder(path: str) -> None:
    """A local folder must hold a Qwen3-VL: transformers would load another architecture's weights with random ones."""
    if not Path(path).exists() and (Path(path).is_absolute() or path.startswith(".") or path.count("/") > 1):
        raise ConfigError(f"There is no folder {path}, and it cannot be a hub's name; check model.path.")
    config = Path(path) / "config.json"
    if Path(path).is_dir() and not config.is_file():
        raise ConfigError(f"{path} holds no config.json, so it is not a model's folder; check model.path.")
    if config.is_file():
        try:
            kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
        except ValueError as error:
            raise ConfigError(f"{config} is not JSON ({error}); save or download the model again.") from error
        if kind != "qwen3_vl":
            raise ConfigError(f"{config} is of model_type {kind!r}; tracer1 trains Qwen3-VL ('qwen3_vl').")


def _check_whole(path: str, backbone: Backbone, missing: list[str]) -> None:
    """Nothing may be made up: transformers fills missing weights with random ones, and a missing tokenizer with an empty one."""
    if missing:
        raise ConfigError(
            f"The model {path!r} lacks {len(missing)} of its weights ({missing[0]}, ...); save or download it again."
        )
    image_token = backbone.model.config.image_token_id
    if backbone.tokenizer.convert_tokens_to_ids("<|image_pad|>") != image_token:
        raise ConfigError(
            f"The tokenizer in {path!r} does not belong to the model: <|image_pad|> is not its token {image_token}. "
            "Copy tokenizer.json and tokenizer_config.json from the model's own folder."
        )
