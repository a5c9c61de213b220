"""Drawing one token: greedy, temperature, the nucleus, and the log-probs of the whole distribution."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tracer1.engines import transformers
from tracer1.engines.transformers import draw
from tracer1.interfaces import Sampling

# Tokens 0..3 with the probabilities .15, .5, .05, .3: by size 1, 3, 0, 2 with the sums .5, .8, .95, 1
PROBS = torch.tensor([0.15, 0.5, 0.05, 0.3])
BY_SIZE = [1, 3, 0, 2]
DRAWS = 20_000


def many(logits: Tensor, sampling: Sampling, count: int = DRAWS) -> tuple[Tensor, Tensor]:
    """`count` draws whose noise fills [0, 1) evenly: the shares come out as exact as the spacing."""
    noise = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return draw(logits.expand(count, -1), noise, sampling)


def shares(tokens: Tensor, vocabulary: int = 4) -> list[float]:
    return (torch.bincount(tokens, minlength=vocabulary) / len(tokens)).tolist()


def test_greedy_takes_the_likeliest_whatever_the_noise():
    tokens, logprobs = many(PROBS.log(), Sampling(temperature=0, top_p=0.1), 50)
    assert set(tokens.tolist()) == {1}
    assert_close(logprobs, torch.full((50,), math.log(0.5)))


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.1, 1),  # the first token alone holds more
        (0.45, 1),
        (0.55, 2),  # .5 falls short of the line; the token that crosses it (.8) stays
        (0.79, 2),
        (0.81, 3),
        (0.94, 3),
        (0.96, 4),
        (1.0, 4),
    ],
)
def test_the_nucleus_ends_with_the_token_that_crosses_the_line(top_p: float, kept: int):
    tokens, _ = many(PROBS.log(), Sampling(temperature=1.0, top_p=top_p))
    mass = sum(PROBS[t].item() for t in BY_SIZE[:kept])
    expected = [PROBS[t].item() / mass if t in BY_SIZE[:kept] else 0.0 for t in range(4)]
    assert shares(tokens) == pytest.approx(expected, abs=1e-4)


def test_temperature_comes_before_the_nucleus():
    # at temperature 1/2 probabilities are squared: .0225, .25, .0025, .09 of .365, so by size .685, .932, .993, 1
    squares = PROBS**2 / (PROBS**2).sum()
    tokens, _ = many(PROBS.log(), Sampling(temperature=0.5, top_p=1.0))
    assert shares(tokens) == pytest.approx(squares.tolist(), abs=1e-4)
    tokens, _ = many(PROBS.log(), Sampling(temperature=0.5, top_p=0.9))  # at temperature 1 it would keep three
    assert shares(tokens) == pytest.approx([0, 0.25 / 0.34, 0, 0.09 / 0.34], abs=1e-4)


@pytest.mark.parametrize("sampling", [Sampling(1.0, 1.0), Sampling(0.5, 0.7), Sampling(3.0, 0.9), Sampling(0.0, 0.5)])
def test_logprobs_are_of_the_whole_distribution_at_temperature_one(sampling: Sampling):
    logits = torch.randn(30, generator=torch.Generator().manual_seed(1)) * 2
    tokens, logprobs = many(logits, sampling, 500)
    assert_close(logprobs, logits.log_softmax(-1)[tokens])


@pytest.mark.parametrize("seed", range(3))
def test_draws_follow_the_probabilities(seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, generator=generator)
    noise = torch.rand(DRAWS, generator=generator, dtype=torch.float64)
    tokens, _ = draw(logits.expand(DRAWS, -1), noise, Sampling(1.0, 1.0))
    expected = logits.softmax(-1).double() * DRAWS
    statistic = ((torch.bincount(tokens, minlength=6) - expected) ** 2 / expected).sum().item()
    assert statistic < 20.5  # chi-square, 5 degrees of freedom: one in a thousand lies above


def test_the_ends_of_the_noise_stay_inside_the_nucleus():
    noise = torch.tensor(
        [0.0, 1 - 2**-53, math.nextafter(0.5 / 0.8, 0), math.nextafter(0.5 / 0.8, 1)], dtype=torch.float64
    )
    tokens, _ = draw(PROBS.log().expand(4, -1), noise, Sampling(1.0, 0.79))
    assert tokens.tolist()[:2] == [1, 3]
    assert set(tokens.tolist()[2:]) <= {1, 3}


def test_an_impossible_token_is_never_drawn():
    logits = torch.tensor([0.0, -math.inf, 1.0, -math.inf])
    for sampling in (Sampling(1.0, 1.0), Sampling(2.0, 0.999), Sampling(0.0)):
        tokens, logprobs = many(logits, sampling, 200)
        assert set(tokens.tolist()) <= {0, 2}
        assert logprobs.isfinite().all()


def test_equal_logits_are_drawn_equally():
    tokens, _ = many(torch.zeros(4), Sampling(1.0, 1.0))
    assert shares(tokens) == pytest.approx([0.25] * 4, abs=1e-4)


def test_rows_do_not_see_each_other():
    generator = torch.Generator().manual_seed(4)
    logits, noise = torch.randn(9, 40, generator=generator), torch.rand(9, generator=generator, dtype=torch.float64)
    together = draw(logits, noise, Sampling(0.8, 0.9))
    for row in range(9):
        alone = draw(logits[row : row + 1], noise[row : row + 1], Sampling(0.8, 0.9))
        assert (together[0][row], together[1][row]) == (alone[0][0], alone[1][0])


@pytest.mark.parametrize("top_p", [0.5, 0.9, 0.99, 1.0])
def test_looking_at_a_few_tokens_first_changes_no_draw(top_p: float, monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(400, 300, generator=generator) * torch.linspace(0.1, 6, 400)[:, None]  # flat to sharp
    noise = torch.rand(400, generator=generator, dtype=torch.float64)
    few, _ = draw(logits, noise, Sampling(1.0, top_p))
    monkeypatch.setattr(transformers, "_HEAD", 300)
    whole, _ = draw(logits, noise, Sampling(1.0, top_p))
    assert torch.equal(few, whole)


def test_a_draw_does_not_depend_on_the_rows_beside_it():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(50, 300, generator=generator) * torch.linspace(0.1, 6, 50)[:, None]
    noise = torch.rand(50, generator=generator, dtype=torch.float64)
    together, _ = draw(logits, noise, Sampling(1.0, 0.9))
    assert together.tolist() == [
        int(draw(logits[i : i + 1], noise[i : i + 1], Sampling(1.0, 0.9))[0]) for i in range(50)
    ]
