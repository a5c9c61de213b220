"""What every engine that samples must do, whatever it samples with. Each check takes an engine that is being served.

A test module makes the engine, a policy and prompts, and calls these.
"""

from collections.abc import Sequence
from typing import Any

import torch

from tracer1.interfaces import Sampling
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.policy import PolicyModule
from tracer1.schema import Prompt, Response

SAMPLING = Sampling(1.0, 0.99, 24)
GREEDY = Sampling(0.0, 1.0, 40)


def seeds_for(prompts: Sequence[Prompt], group_size: int = 3) -> list[list[int]]:
    """63-bit seeds, as the loop makes them."""
    return [[2**62 + 1000 * b + 17 * i for i in range(group_size)] for b in range(len(prompts))]


def check_the_same_seed_gives_the_same_response(engine: Any, prompts: Sequence[Prompt]) -> None:
    seeds = seeds_for(prompts)
    first, second = (engine.generate(prompts, SAMPLING, seeds) for _ in range(2))
    assert [r.token_ids for r in first] == [r.token_ids for r in second]
    assert len(first) == 3 * len(prompts)


def check_every_response_has_its_own_noise(engine: Any, prompts: Sequence[Prompt]) -> None:
    """At a high temperature no two of a group agree, and other seeds give other responses."""
    hot = Sampling(2.0, 1.0, 48)
    responses = engine.generate(prompts, hot, seeds_for(prompts))
    assert len({r.token_ids for r in responses}) == len(responses)
    other = engine.generate(prompts, hot, [[seed + 7 for seed in group] for group in seeds_for(prompts)])
    assert all(a.token_ids != b.token_ids for a, b in zip(responses, other, strict=True))


def check_a_response_does_not_depend_on_what_is_sampled_beside_it(engine: Any, prompts: Sequence[Prompt]) -> None:
    seeds = seeds_for(prompts)
    together = engine.generate(prompts, SAMPLING, seeds)
    for b, prompt in enumerate(prompts):
        (alone,) = engine.generate([prompt], SAMPLING, [[seeds[b][2]]])
        assert alone.token_ids == together[3 * b + 2].token_ids


def check_ends_and_limits(engine: Any, prompts: Sequence[Prompt], stop_ids: frozenset[int]) -> None:
    """A response holds its end token, or as many tokens as there may be; one log-prob for each."""
    for most in (3, 200):
        for response in engine.generate(prompts, Sampling(1.0, 0.99, most), seeds_for(prompts)):
            assert not stop_ids & set(response.token_ids[:-1])
            assert (response.token_ids[-1] in stop_ids) != response.truncated
            assert len(response.token_ids) == most or not response.truncated
            assert len(response.logprobs) == len(response.token_ids)
            assert all(logprob <= 0 for logprob in response.logprobs)


def logprob_differences(policy: PolicyModule, prompts: Sequence[Prompt], responses: Sequence[Response]) -> torch.Tensor:
    """|engine - trainer| of every sampled token."""
    backbone = policy.backbone
    batch = ResponseBatch.collate([r.token_ids for r in responses], backbone.pad_id)
    with torch.no_grad():
        trainer = policy.logprobs(PromptBatch.collate(prompts, backbone.pad_id, backbone.rope_index), batch)
    engine = torch.tensor([logprob for r in responses for logprob in r.logprobs])
    return (trainer[batch.mask.bool()] - engine).abs()


def check_logprobs_are_the_trainers(
    engine: Any, policy: PolicyModule, prompts: Sequence[Prompt], mean: float, largest: float
) -> None:
    """At any temperature and top-p: the engine reports the whole distribution at temperature 1."""
    for sampling in (SAMPLING, Sampling(2.0, 0.8, 24), GREEDY):
        responses = engine.generate(prompts, sampling, seeds_for(prompts))
        differences = logprob_differences(policy, prompts, responses)
        assert differences.mean() < mean
        assert differences.max() < largest


def check_greedy_equals(engine: Any, other: Any, prompts: Sequence[Prompt]) -> list[Response]:
    """Both say the same, token for token; returns it."""
    one, two = (e.generate(prompts, GREEDY, [[0]] * len(prompts)) for e in (engine, other))
    assert [r.token_ids for r in one] == [r.token_ids for r in two]
    assert [(r.text, r.truncated) for r in one] == [(r.text, r.truncated) for r in two]
    return one
