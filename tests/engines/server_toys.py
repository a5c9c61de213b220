"""What the server engine's tests share: a policy of three tensors, prompts, and an engine for hand-written servers."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tracer1.engines import ENGINES
from tracer1.engines.vllm_server import VllmServerEngine
from tracer1.interfaces import Sampling
from tracer1.schema import Prompt, Response

IMAGE = 9
SAMPLING = Sampling(1.0, 0.99, 16)


class Policy:
    """Only what an engine takes: a tokenizer, stop ids, weights."""

    def __init__(self) -> None:
        config = SimpleNamespace(image_token_id=IMAGE, tie_word_embeddings=True)
        decode = SimpleNamespace(decode=lambda ids, skip_special_tokens: " ".join(map(str, ids)))
        self.backbone = SimpleNamespace(
            tokenizer=decode,
            model=SimpleNamespace(config=config, dtype=torch.float32),
            image_processor=SimpleNamespace(merge_size=2),
            stop_ids=frozenset({0, 5}),
        )
        self.fill = 1.0

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield "model.language_model.norm.weight", torch.full((4,), self.fill)
        yield "model.language_model.layers.0.self_attn.q_proj.weight", torch.full((4, 4), self.fill)
        yield "model.language_model.layers.0.mlp.down_proj.weight", torch.full((4, 4), 2 * self.fill)


def make(fake: Any, tmp_path: Path, **settings: Any) -> VllmServerEngine:
    """An engine for one server, or a list of several: anything with a `url`."""
    given = {"folder": str(tmp_path), "answer_s": 0.5, "patience_s": 3.0, "concurrency": 4} | settings
    return ENGINES.get("vllm_server")(url=[one.url for one in fake] if isinstance(fake, list) else fake.url, **given)


def text_prompt(key: str) -> Prompt:
    return Prompt(key, (1, 2, 3), {})


def seeing_prompt(key: str) -> Prompt:
    """A 4 x 4-patch picture: four image tokens from place 1 on."""
    pixels = torch.arange(16 * 3, dtype=torch.float32).view(16, 3) + len(key)
    return Prompt(key, (1, *[IMAGE] * 4, 2), {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, 4, 4]])})


def ask(
    engine: VllmServerEngine, prompts: list[Prompt], seeds: list[list[int]], policy: Policy | None = None
) -> list[Response]:
    with engine.serving(policy or Policy()):
        return engine.generate(prompts, SAMPLING, seeds)


def expected(seed: int, fill: int = 1) -> tuple[int, ...]:
    """What the fake server samples from weights that are `fill`."""
    seed += fill - 1
    return (seed % 97 + 1, seed % 89 + 1, 0)
