"""A plugin: an engine that samples with a copy of the policy, as a server would: it goes on while the policy is updated."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tracer1.engines import ENGINES
from tracer1.engines.transformers import TransformersEngine
from tracer1.interfaces import Sampling
from tracer1.models.sampler import PolicySampler
from tracer1.schema import Prompt, Response


class Copied:
    """What the embedded engine asks of a policy."""

    training = False

    def __init__(self, policy: Any) -> None:
        self.backbone = replace(policy.backbone, model=copy.deepcopy(policy.backbone.model).eval())

    def sampler(self) -> PolicySampler:
        return PolicySampler(self.backbone)

    def eval(self) -> None: ...

    def train(self, training: bool) -> None: ...


@ENGINES.register("toy_apart")
class ApartEngine:
    """Takes the weights when it is served."""

    apart = True

    def __init__(self, prompts_per_batch: int = 32) -> None:
        self.inner = TransformersEngine(prompts_per_batch)

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        with self.inner.serving(Copied(policy)):
            yield

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        return self.inner.generate(prompts, sampling, seeds)
