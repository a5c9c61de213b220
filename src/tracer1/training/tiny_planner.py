"""Makes the tiny planner from shards, and halves a taught one for shipping. It knows nothing of training."""

from pathlib import Path

from tracer1.data.shards import expand_urls, read_steps
from tracer1.models.backbone import load_backbone
from tracer1.models.tiny import make_tiny_planner, save_half
from tracer1.parsing import format_plan
from tracer1.prompts import to_messages


def make_from_shards(shards: str, out: Path, horizon: int, seed: int) -> int:
    """A planner with random weights, its tokenizer trained on the shards' prompts and plans; returns the weights' bytes."""
    texts = []
    for step in read_steps(expand_urls([shards]), history=4, horizon=horizon, verify_images=False):
        texts += [part["text"] for m in to_messages(step, horizon, "brief") for part in m["content"] if "text" in part]
        texts.append(format_plan(step.future, step.index + 1))
    backbone = make_tiny_planner(texts, seed)
    backbone.save(out)
    return _size(out)


def halve(taught: Path, out: Path) -> int:
    """Writes a planner in bfloat16; returns the weights' bytes."""
    save_half(load_backbone(str(taught)), out)
    return _size(out)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
