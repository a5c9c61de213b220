"""For the tests that run a real vLLM: the shipped tiny planner, and prompts from the shipped shards."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tracer1.data.shards import read_steps
from tracer1.models.policy import PolicyModule
from tracer1.schema import Prompt

ROOT = Path(__file__).resolve().parents[2]
PLANNER = ROOT / "demo" / "tiny_planner"


@pytest.fixture(scope="module")
def planner() -> PolicyModule:
    """fp32; whoever changes its weights puts them back (`changed`)."""
    return PolicyModule(str(PLANNER), prompt={"horizon": 5, "style": "brief"}, optimizer=torch.optim.SGD)


@pytest.fixture(scope="module")
def screens(planner: PolicyModule) -> list[Prompt]:
    """Four prompts of different lengths with a picture, one without, and one with two."""
    steps = []
    for step in read_steps([str(next(ROOT.glob("demo/shards/*-train-*")))]):
        steps.append(step if len(steps) < 4 else replace(step, key=f"{step.key}-blind", screenshot=None))
        if len(steps) == 5:
            break
    prompts = [planner.encoder.encode(step) for step in steps]
    first, second = prompts[0], prompts[3]
    tensors = {name: torch.cat([first.tensors[name], second.tensors[name]]) for name in first.tensors}
    return [*prompts, Prompt("two", first.token_ids + second.token_ids, tensors)]


@contextmanager
def _changed(policy: PolicyModule, share: float, seed: int) -> Iterator[None]:
    """Every weight moved by noise of `share` of its spread, and put back."""
    before = copy.deepcopy(policy.state_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * share * (parameter.std() if parameter.numel() > 1 else 0.01))
    try:
        yield
    finally:
        policy.load_state_dict(before)


@pytest.fixture(scope="session")
def changed() -> Callable[..., AbstractContextManager[None]]:
    """`with changed(planner, share, seed):` its weights are others."""
    return _changed
