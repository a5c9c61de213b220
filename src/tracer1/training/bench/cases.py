"""What the benchmark runs on: models of known shapes with random weights, drawn screens, prompts of a wanted length.

It knows nothing of engines, trainers or clocks.
"""

import io
import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from transformers import GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from tracer1.models.attention import kinds
from tracer1.models.backbone import Backbone
from tracer1.models.shapes import read_shape
from tracer1.models.tiny import make_tiny_planner
from tracer1.parsing import format_plan
from tracer1.prompts import full_prompt
from tracer1.schema import Action, PlanStep, Prompt, Step
from tracer1.training.entry import quiet_libraries

HORIZON = 4
TASK = "Open the settings, look for the network page and switch the wireless connection off, then go back."
_PLAN = (
    PlanStep(Action("click", "Click the settings icon.", point=(512.0, 133.0)), "done", "a desktop with icons", 1),
)
_WORDS = (20, 250)  # token ids in this range are text in every vocabulary used here, never control tokens

# Vision layers that feed the first text layers, as the models' config.json says (https://huggingface.co/Qwen)
_DEEPSTACK = {"2b": [5, 11, 17], "8b": [8, 16, 24]}
SHAPES = ("tiny", *_DEEPSTACK)


@dataclass(frozen=True, slots=True)
class Case:
    """One setting of a comparison."""

    image: tuple[int, int]  # width, height in pixels, multiples of 32
    response_tokens: int  # R, of every response
    prompts: int  # of a step
    group_size: int = 5  # n
    prompt_tokens: int | None = None  # P, by filling up with text; None: as the task's prompt is
    shape: str = "tiny"
    device: str = "cpu"
    threads: int = 2
    engine: str = "transformers"  # what samples in whole steps, on both sides: transformers or vllm

    @property
    def image_tokens(self) -> int:
        """Tokens of the picture after 2 x 2 patches of 16 x 16 pixels are merged."""
        return self.image[0] // 32 * (self.image[1] // 32)

    @property
    def dtype(self) -> str:
        """float32 on a CPU, bfloat16 on a GPU."""
        return "float32" if self.device == "cpu" else "bfloat16"

    def __str__(self) -> str:
        width, height = self.image
        engine = ", vLLM" if self.engine == "vllm" else ""
        return f"{width}x{height}, {self.response_tokens} response tokens, {self.prompts} x {self.group_size}{engine}"


def shape_config(shape: str, tiny: Qwen3VLConfig) -> Qwen3VLConfig:
    """The configuration of `shape`; control tokens are those of the tiny planner's tokenizer."""
    if shape == "tiny":
        return tiny
    published = read_shape(f"Qwen/Qwen3-VL-{shape.upper()}-Instruct")
    text, vision = published.text, published.vision
    tokens = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return Qwen3VLConfig(
        text_config={
            "vocab_size": text.vocabulary,
            "hidden_size": text.hidden,
            "intermediate_size": text.intermediate,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "num_key_value_heads": text.key_heads,
            "head_dim": text.head_dim,
            "max_position_embeddings": 262_144,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": vision.depth,
            "hidden_size": vision.hidden,
            "intermediate_size": vision.intermediate,
            "num_heads": vision.heads,
            "out_hidden_size": vision.out,
            "num_position_embeddings": vision.positions,
            "deepstack_visual_indexes": _DEEPSTACK[shape],
        },
        tie_word_embeddings=text.tied,
        **{name: getattr(tiny, name) for name in tokens},
    )


def make_backbone(case: Case, seed: int = 0) -> Backbone:
    """A backbone of the case's shape with random weights, and the tiny planner's tokenizer, that takes pictures as they are."""
    pixels = case.image[0] * case.image[1]
    tiny = make_tiny_planner(_texts(), seed)
    tiny.image_processor.size = {"shortest_edge": pixels, "longest_edge": pixels}
    if case.shape == "tiny":
        return tiny
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration._from_config(
            shape_config(case.shape, tiny.model.config), dtype=getattr(torch, case.dtype)
        )
    model.set_attn_implementation(kinds())
    model.generation_config = tiny.model.generation_config
    return replace(tiny, model=model)


def _texts() -> list[str]:
    """What the tokenizer is trained on: prompts and plans of every platform, until its 1,024 tokens are full."""
    steps = [Step("k", "bench", "a", 0, TASK, None, (), _PLAN, platform=name) for name in ("web", "desktop", "mobile")]
    spoken = [part["text"] for step in steps for message in full_prompt(step, HORIZON) for part in message["content"]]
    return [*spoken, format_plan(_PLAN, thought="Where is it?")] * 2


def never_ends(backbone: Backbone) -> None:
    """Every response is as long as it may be: no token ends one. (TRL: min_new_tokens = max_new_tokens.)"""
    backbone.model.generation_config = GenerationConfig(eos_token_id=[], pad_token_id=backbone.pad_id)


def draw_screen(size: tuple[int, int], seed: int) -> bytes:
    """PNG bytes of a screen with boxes and lines of text, different for every seed."""
    chance = random.Random(seed)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        colour = tuple(chance.randrange(256) for _ in range(3))
        draw.rectangle([x, y, x + chance.randrange(8, 200), y + chance.randrange(8, 60)], fill=colour)
        draw.text((x, y), TASK[: chance.randrange(5, 60)], fill="black")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def make_steps(case: Case, count: int) -> list[Step]:
    """`count` steps with screens of their own: nothing of one can be kept for another."""
    return [
        Step(
            f"bench-a-{index:03d}",
            "bench",
            "a",
            0,
            TASK,
            draw_screen(case.image, index),
            (),
            _PLAN,
            meta={"index": index},
        )
        for index in range(count)
    ]


def make_prompts(backbone: Backbone, case: Case) -> list[Prompt]:
    """The case's prompts: a picture, then text up to `prompt_tokens` in all."""
    chance = random.Random(0)
    prompts = []
    for index in range(case.prompts):
        with Image.open(io.BytesIO(draw_screen(case.image, index))) as image:
            tensors = dict(backbone.image_processor(images=[image.convert("RGB")], return_tensors="pt"))
        pads = [backbone.model.config.image_token_id] * case.image_tokens
        start, end = (getattr(backbone.model.config, f"vision_{side}_token_id") for side in ("start", "end"))
        text = (case.prompt_tokens or case.image_tokens + 64) - len(pads) - 2
        words = [chance.randrange(*_WORDS) for _ in range(text)]
        prompts.append(Prompt(f"bench-{index}", (start, *pads, end, *words), tensors))
    return prompts


def make_responses(case: Case) -> list[list[int]]:
    """Random words, all responses of the case's length."""
    chance = random.Random(1)
    count = case.prompts * case.group_size
    return [[chance.randrange(*_WORDS) for _ in range(case.response_tokens)] for _ in range(count)]


def save_backbone(case: Case, folder: Path) -> Path:
    """Writes the case's backbone where both sides of a comparison load it from."""
    quiet_libraries()
    make_backbone(case).save(folder)
    return folder
