"""The sizes of a Qwen3-VL, from a local config.json or, for the hub's names, from a table: no weights, no hub, no torch.

It knows nothing of training.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer1.errors import ConfigError
from tracer1.registry import nearest


@dataclass(frozen=True, slots=True)
class TextShape:
    """The language model."""

    layers: int
    hidden: int
    heads: int
    key_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool  # the head is the embedding

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        return self.key_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class VisionShape:
    """The vision tower with its mergers."""

    depth: int
    hidden: int
    intermediate: int
    out: int  # width of the language model it feeds
    deepstack: int  # levels that go to the first text layers, each with a merger
    heads: int = 16
    positions: int = 2304  # learned, a square grid
    channels: int = 3
    patch: int = 16  # pixels a side
    merge: int = 2  # patches a side that become one token
    frames: int = 2  # a picture counts as two

    @property
    def patch_width(self) -> int:
        """Numbers in one patch."""
        return self.channels * self.frames * self.patch**2

    @property
    def side(self) -> int:
        """Pixels a side of one image token; pictures are resized to multiples of it."""
        return self.patch * self.merge


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A Qwen3-VL."""

    name: str
    text: TextShape
    vision: VisionShape
    pixels: tuple[int, int]  # least and most of a resized picture, unless model.prompt.pixels says otherwise


def _text(layers: int, hidden: int, heads: int, intermediate: int, tied: bool) -> TextShape:
    return TextShape(layers, hidden, heads, 8, 128, intermediate, 151_936, tied)


_SMALL_TOWER, _LARGE_TOWER = (24, 1024, 4096), (27, 1152, 4304)

# As the models' config.json and preprocessor_config.json on the hub (https://huggingface.co/Qwen) say; the numbers of
# parameters that follow from them are those of the model cards: 2.13, 4.44, 8.77 and 33.36 billion.
_PUBLISHED = {
    "Qwen3-VL-2B": (_text(28, 2048, 16, 6144, True), _SMALL_TOWER),
    "Qwen3-VL-4B": (_text(36, 2560, 32, 9728, True), _SMALL_TOWER),
    "Qwen3-VL-8B": (_text(36, 4096, 32, 12288, False), _LARGE_TOWER),
    "Qwen3-VL-32B": (_text(64, 5120, 64, 25600, False), _LARGE_TOWER),
}
PUBLISHED = tuple(f"Qwen/{size}-{kind}" for size in _PUBLISHED for kind in ("Thinking", "Instruct"))
_PUBLISHED_PIXELS = (65_536, 16_777_216)


def read_shape(path: str) -> ModelShape:
    """The sizes of the model at a local folder, or of a published one by its hub's name.

    Raises:
        ConfigError: neither, or a config.json that is not a Qwen3-VL's.
    """
    if (Path(path) / "config.json").is_file():
        return _local_shape(Path(path))
    if path not in PUBLISHED:
        raise ConfigError(
            f"model.path={path}: there is no {Path(path) / 'config.json'}, and no published model of that name is known "
            f"here.{nearest(path, list(PUBLISHED))} Give a folder with a config.json, or Qwen/Qwen3-VL-SIZE-Thinking or "
            f"-Instruct with a size of {', '.join(size.rpartition('-')[2] for size in _PUBLISHED)}."
        )
    text, (depth, hidden, intermediate) = _PUBLISHED[path.removeprefix("Qwen/").rpartition("-")[0]]
    return ModelShape(path, text, VisionShape(depth, hidden, intermediate, text.hidden, 3), _PUBLISHED_PIXELS)


def _local_shape(folder: Path) -> ModelShape:
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "qwen3_vl":
        raise ConfigError(
            f"{folder / 'config.json'} is of model_type {config.get('model_type')!r}; tracer1 trains Qwen3-VL ('qwen3_vl')."
        )
    try:
        return ModelShape(str(folder), _local_text(config), _local_vision(config["vision_config"]), _pixels(folder))
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder / 'config.json'} lacks a size of the model ({error}); save or download it again."
        ) from error


def _local_text(config: Mapping[str, Any]) -> TextShape:
    text = config["text_config"]
    heads = text["num_attention_heads"]
    return TextShape(
        layers=text["num_hidden_layers"],
        hidden=text["hidden_size"],
        heads=heads,
        key_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim", 128),
        intermediate=text["intermediate_size"],
        vocabulary=text["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
    )


def _local_vision(vision: Mapping[str, Any]) -> VisionShape:
    return VisionShape(
        depth=vision["depth"],
        hidden=vision["hidden_size"],
        intermediate=vision["intermediate_size"],
        out=vision["out_hidden_size"],
        deepstack=len(vision["deepstack_visual_indexes"]),
        heads=vision["num_heads"],
        positions=vision["num_position_embeddings"],
        channels=vision.get("in_channels", 3),
        patch=vision["patch_size"],
        merge=vision["spatial_merge_size"],
        frames=vision["temporal_patch_size"],
    )


def _pixels(folder: Path) -> tuple[int, int]:
    """What the model's own image processor resizes to."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():  # transformers 5 writes all processors into one file
        path = folder / "processor_config.json"
    config = _read_json(path) if path.is_file() else {}
    size = config.get("image_processor", config).get("size", {})
    least, most = _PUBLISHED_PIXELS
    return size.get("shortest_edge", least), size.get("longest_edge", most)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}); save or download the model again.") from error
