"""Rollout engines beside each other: the same policy, prompts and seeds, in turns in one process.

It knows no training.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch

from tracer1.data.shards import read_steps
from tracer1.engines import ENGINES
from tracer1.interfaces import Sampling
from tracer1.models.policy import PolicyModule
from tracer1.training.experience import rollout_seed
from tracer1.training.recipes import build


def compare_engines(
    specs: Sequence[Mapping[str, Any]],
    model: str,
    shards: Sequence[str],
    size: tuple[int, int] = (24, 5),
    repetitions: int = 5,
    max_tokens: int = 320,
) -> dict[str, dict[str, float]]:
    """Times rounds of sampling.

    Args:
        specs: Engine groups, e.g. `{"name": "vllm", "max_model_len": 1024}`.
        model: The planner's folder.
        shards: Where the steps come from.
        size: Prompts, and responses to each.
        repetitions: Rounds of each engine that count, after one that does not.
        max_tokens: Of a response.

    Returns:
        For each engine the medians of tokens_per_s, tokens, generate_s and serving_s (what it takes to get the weights).
    """
    policy = PolicyModule(model, prompt={"horizon": 5, "style": "brief"}, optimizer=partial(torch.optim.SGD, lr=1.0))
    steps = list(islice(read_steps(list(shards)), size[0]))
    prompts = [policy.encoder.encode(step) for step in steps]
    seeds = [[rollout_seed(1, 0, step.key, i) for i in range(size[1])] for step in steps]
    engines = {spec["name"]: build(ENGINES, spec) for spec in specs}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    for _ in range(repetitions + 1):
        for name, engine in engines.items():
            rounds[name].append(_one_round(engine, policy, prompts, Sampling(1.0, 0.99, max_tokens), seeds))
    return {
        name: {figure: median(r[figure] for r in counted[1:]) for figure in counted[0]}
        for name, counted in rounds.items()
    }


def _one_round(engine: Any, policy: PolicyModule, prompts: Any, sampling: Sampling, seeds: Any) -> dict[str, float]:
    began = time.perf_counter()
    with engine.serving(policy):
        served = time.perf_counter()
        responses = engine.generate(prompts, sampling, seeds)
        done = time.perf_counter()
    tokens = sum(len(r.token_ids) for r in responses)
    seconds = done - served
    return {"tokens_per_s": tokens / seconds, "tokens": tokens, "generate_s": seconds, "serving_s": served - began}


def engine_table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown."""
    lines = ["| engine | tokens/s | tokens | sampling | getting the weights |", "|---|---|---|---|---|"]
    for name, f in figures.items():
        lines.append(
            f"| {name} | {f['tokens_per_s']:,.0f} | {f['tokens']:,.0f} | {f['generate_s']:.2f} s | {f['serving_s']:.2f} s |"
        )
    return "\n".join(lines)


def demo_shards(root: Path) -> list[str]:
    """The shipped training shards."""
    return sorted(map(str, root.glob("demo/shards/*-train-*")))
