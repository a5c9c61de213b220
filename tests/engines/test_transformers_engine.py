"""The embedded engine: one response per seed, whatever is sampled beside it; ends, limits, and what `serving` leaves behind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tracer1.engines import ENGINES
from tracer1.engines.transformers import TransformersEngine
from tracer1.errors import ConfigError, UnknownName
from tracer1.interfaces import Sampling
from tracer1.models.batch import PromptBatch, ResponseBatch
from tracer1.models.policy import PolicyModule
from tracer1.models.sampler import PolicySampler
from tracer1.schema import Prompt, Response, Step

END, FILL = 0, 5


@dataclass
class Rows:
    """The fake's state: which script each live row follows, and how far it is."""

    scripts: list[list[int]]
    position: int = 0

    def select(self, rows: Tensor) -> None:
        self.scripts = [self.scripts[i] for i in rows.tolist()]


class Script:
    """A policy that says what it is told, and goes on talking after its end token if it is let."""

    stop_ids = frozenset({END})
    training = True

    def __init__(self, scripts: Sequence[Sequence[int]]) -> None:
        self.scripts = [list(script) for script in scripts]
        self.forwards: list[int] = []  # rows of each forward after the prefill

    def eval(self) -> None:
        self.training = False

    def train(self, mode: bool) -> None:
        self.training = mode

    def sampler(self) -> "Script":
        return self

    def prefill(self, prompts: Sequence[Prompt], group_size: int) -> Rows:
        assert len(self.scripts) == len(prompts) * group_size
        return Rows(list(self.scripts))

    def next_logits(self, state: Rows) -> Tensor:
        said = [script[state.position] if state.position < len(script) else FILL for script in state.scripts]
        return torch.nn.functional.one_hot(torch.tensor(said), 10) * 50.0

    def append(self, state: Rows, tokens: Tensor) -> None:
        assert len(tokens) == len(state.scripts)
        self.forwards.append(len(tokens))
        state.position += 1

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(map(str, token_ids))


def say(scripts: Sequence[Sequence[int]], max_tokens: int, group_size: int = 1) -> tuple[list[Response], Script]:
    policy, engine = Script(scripts), TransformersEngine()
    prompts = [Prompt(str(i), (1,), {}) for i in range(len(scripts) // group_size)]
    with engine.serving(policy):
        responses = engine.generate(prompts, Sampling(0, 1.0, max_tokens), [list(range(group_size))] * len(prompts))
    return responses, policy


def test_the_end_token_is_the_last_one():
    responses, _ = say([[1, 2, END, 3, 4], [6, END], [END]], 9)
    assert [r.token_ids for r in responses] == [(1, 2, END), (6, END), (END,)]
    assert [r.text for r in responses] == ["120", "60", "0"]
    assert [len(r.logprobs) for r in responses] == [3, 2, 1]
    assert not any(r.truncated for r in responses)


def test_a_response_at_the_token_limit_is_truncated():
    responses, _ = say([[1, 2, 3, 4, 5, END], [1, 2, END], [1, 2, 3]], 3)
    assert [r.token_ids for r in responses] == [(1, 2, 3), (1, 2, END), (1, 2, 3)]
    assert [r.truncated for r in responses] == [True, False, True]  # an end token at the very limit is an end


def test_rows_that_ended_are_dropped_in_bulk():
    # Lengths 2, 6, 3, 6. After the 2nd token one of four rows has ended: 3 of 4 go on, not worth a copy. After the 3rd two
    # have: half of the rows are dropped. After the 6th none is left, and the last token needs no forward.
    responses, policy = say([[1, END], [1, 2, 3, 4, 6, END], [1, 2, END], [6, 4, 3, 2, 1, END]], 50)
    assert policy.forwards == [4, 4, 2, 2, 2]
    assert [len(r.token_ids) for r in responses] == [2, 6, 3, 6]
    assert responses[3].token_ids == (6, 4, 3, 2, 1, END)


def test_an_ended_row_does_not_keep_the_others_waiting():
    # eight rows end one after another, never a quarter at once; whoever talks on after the end is not listened to
    responses, policy = say([[1] * length + [END] for length in range(1, 9)], 500)
    assert [len(r.token_ids) for r in responses] == list(range(2, 10))
    assert len(policy.forwards) == 8
    assert policy.forwards == sorted(policy.forwards, reverse=True)


def test_groups_are_adjacent():
    responses, _ = say([[1, END], [2, END], [3, END], [4, END]], 5, group_size=2)
    assert [r.token_ids[0] for r in responses] == [1, 2, 3, 4]


# --- serving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_serving_samples_in_evaluation_mode_and_restores_what_was(training: bool):
    policy, engine = Script([[END]]), TransformersEngine()
    policy.training = training
    with engine.serving(policy):
        assert not policy.training
    assert policy.training is training


def test_serving_restores_the_mode_after_an_exception():
    policy, engine = Script([[END]]), TransformersEngine()

    def while_serving() -> None:
        with engine.serving(policy):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        while_serving()
    assert policy.training
    with pytest.raises(AssertionError, match=r"inside `with engine\.serving"):
        engine.generate([Prompt("k", (1,), {})], Sampling(), [[1]])


def test_a_policy_that_cannot_be_sampled_goes_on_training():
    class Silent(Script):
        def sampler(self) -> Script:
            raise RuntimeError("no sampler")

    policy = Silent([[END]])
    with pytest.raises(RuntimeError, match="no sampler"), TransformersEngine().serving(policy):
        pass
    assert policy.training


@pytest.mark.parametrize(
    "settings", [{"top_p": 0}, {"top_p": 1.1}, {"temperature": -1}, {"max_tokens": 0}, {"temperature": float("nan")}]
)
def test_impossible_sampling_is_refused(settings: dict[str, float]):
    with pytest.raises(ConfigError, match="it takes a temperature >= 0, 0 < top_p <= 1 and max_tokens >= 1"):
        Sampling(**settings)


def test_engines_are_found_by_name():
    assert ENGINES.get("transformers") is TransformersEngine
    with pytest.raises(UnknownName, match=r"No engine 'transfomer'\. Did you mean 'transformers'\?"):
        ENGINES.get("transfomer")


# --- with a real policy ------------------------------------------------------------------------------------------------


class Talkative(PolicyModule):
    """A random planner ends a response once in 150 tokens; with a twelfth of the vocabulary as end tokens most end early."""

    def sampler(self) -> PolicySampler:
        sampler = super().sampler()
        sampler.stop_ids = frozenset(range(0, self.backbone.model.config.text_config.vocab_size, 12))
        return sampler


@pytest.fixture(scope="module")
def policy(tiny_folder: Path) -> PolicyModule:
    return Talkative(str(tiny_folder), prompt={"horizon": 5, "style": "brief"}, optimizer=torch.optim.SGD)


@pytest.fixture(scope="module")
def asked(policy: PolicyModule, make_step: Callable[..., Step], draw_screen: Callable[..., bytes]) -> list[Prompt]:
    """Five prompts of different lengths, one of them without a picture."""
    steps = [
        make_step(
            "Click " * (i + 1), trajectory=f"t{i}", screenshot=draw_screen((96, 64), (9 * i, 3 * i)) if i != 2 else None
        )
        for i in range(5)
    ]
    return [policy.encoder.encode(step) for step in steps]


SAMPLING = Sampling(1.0, 0.99, 16)
SEEDS = [[100 * b + i for i in range(4)] for b in range(5)]


def sample(
    policy: PolicyModule, prompts: Sequence[Prompt], seeds: Sequence[Sequence[int]], **settings
) -> list[Response]:
    engine = TransformersEngine(**settings)
    with engine.serving(policy):
        return engine.generate(prompts, SAMPLING, seeds)


@pytest.fixture(scope="module")
def responses(policy: PolicyModule, asked: list[Prompt]) -> list[Response]:
    return sample(policy, asked, SEEDS)


def test_the_round_holds_both_kinds_of_responses(policy: PolicyModule, responses: list[Response]):
    stops = policy.sampler().stop_ids
    assert 0 < sum(r.truncated for r in responses) < 20
    for response in responses:
        assert [token in stops for token in response.token_ids[:-1]] == [False] * (len(response.token_ids) - 1)
        assert (response.token_ids[-1] in stops) != response.truncated
        assert (len(response.token_ids) == SAMPLING.max_tokens) or not response.truncated


def test_the_same_seed_gives_the_same_response(policy: PolicyModule, asked: list[Prompt], responses: list[Response]):
    assert sample(policy, asked, SEEDS) == responses


def test_every_response_of_a_group_has_its_own_noise(responses: list[Response]):
    assert len({r.token_ids for r in responses}) == len(responses)


def test_other_seeds_give_other_responses(policy: PolicyModule, asked: list[Prompt], responses: list[Response]):
    other = sample(policy, asked, [[seed + 7 for seed in group] for group in SEEDS])
    assert all(a.token_ids != b.token_ids for a, b in zip(other, responses, strict=True))


def test_a_response_does_not_depend_on_what_is_sampled_beside_it(
    policy, asked: list[Prompt], responses: list[Response]
):
    for b, prompt in enumerate(asked):
        (alone,) = sample(policy, [prompt], [[SEEDS[b][2]]])
        beside = responses[4 * b + 2]
        assert alone.token_ids == beside.token_ids
        assert alone.logprobs == pytest.approx(beside.logprobs, abs=1e-5)


@pytest.mark.parametrize("prompts_per_batch", [1, 2, 4])
def test_how_many_prompts_are_sampled_at_a_time_changes_no_token(policy, asked, responses, prompts_per_batch: int):
    got = sample(policy, asked, SEEDS, prompts_per_batch=prompts_per_batch)
    assert [r.token_ids for r in got] == [r.token_ids for r in responses]


def test_the_samplers_logprobs_are_the_policys(policy: PolicyModule, asked: list[Prompt], responses: list[Response]):
    backbone = policy.backbone
    batch = ResponseBatch.collate([r.token_ids for r in responses], backbone.pad_id)
    logprobs = policy.logprobs(PromptBatch.collate(asked, backbone.pad_id, backbone.rope_index), batch)
    for row, response in enumerate(responses):
        got = torch.tensor(response.logprobs)
        assert_close(got, logprobs[row, : len(got)], atol=1e-4, rtol=0)


def test_sampling_leaves_no_trace_on_the_policy(policy: PolicyModule, asked: list[Prompt]):
    policy.train()
    state = torch.get_rng_state()
    sample(policy, asked[:1], SEEDS[:1])
    assert all(module.training for module in policy.modules())
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert torch.equal(torch.get_rng_state(), state)  # the noise is the response's own


def test_no_prompts_no_responses(policy: PolicyModule):
    assert sample(policy, [], []) == []
