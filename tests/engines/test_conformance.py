"""The embedded engine under the checks that every sampling engine must pass; vLLM's are in test_vllm_*.py."""

from collections.abc import Iterator

import conformance
import pytest

from tracer1.engines.transformers import TransformersEngine
from tracer1.models.policy import PolicyModule
from tracer1.schema import Prompt


@pytest.fixture
def served(planner: PolicyModule) -> Iterator[TransformersEngine]:
    engine = TransformersEngine()
    with engine.serving(planner):
        yield engine


def test_it_samples_as_every_engine_must(
    served: TransformersEngine, planner: PolicyModule, screens: list[Prompt]
) -> None:
    conformance.check_the_same_seed_gives_the_same_response(served, screens)
    conformance.check_every_response_has_its_own_noise(served, screens)
    conformance.check_a_response_does_not_depend_on_what_is_sampled_beside_it(served, screens)
    conformance.check_ends_and_limits(served, screens, planner.sampler().stop_ids)
    conformance.check_logprobs_are_the_trainers(served, planner, screens, mean=1e-5, largest=1e-3)
