"""The embedded default engine: samples with the policy's own modules, the prompt of a group encoded once for its n responses.

It knows nothing about rewards, plans or steps. Every response has its own seed, so the same prompt, weights and seed give
the same response on a CPU, bit for bit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from tracer1.engines import ENGINES
from tracer1.errors import EngineError
from tracer1.interfaces import Sampling
from tracer1.schema import Prompt, Response

_HEAD = 64  # tokens that are looked at first: sorting a whole vocabulary took 8 % of a round


class Sampler(Protocol):
    """What this engine needs of a policy: its weights behind three calls."""

    stop_ids: frozenset[int]

    def prefill(self, prompts: Sequence[Prompt], group_size: int) -> Any:
        """Encodes the prompts once each; the returned state has `select(rows)`."""

    def next_logits(self, state: Any) -> Tensor:
        """(N, V) float32 logits of the next token."""

    def append(self, state: Any, tokens: Tensor) -> None:
        """Reads one more token (N,) per row."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Response tokens -> text."""


@ENGINES.register("transformers")
class TransformersEngine:
    """Samples in the training process.

    Args:
        prompts_per_batch: Prompts that are sampled side by side; bounds memory, and belongs to what makes a run reproducible.
    """

    apart = False

    def __init__(self, prompts_per_batch: int = 32) -> None:
        self.prompts_per_batch = prompts_per_batch
        self._sampler: Sampler | None = None

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        """While entered, `generate` answers with the current weights of `policy`, in evaluation mode."""
        training = policy.training
        try:
            policy.eval()
            self._sampler = policy.sampler()
            yield
        finally:
            self._sampler = None
            policy.train(training)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        """`len(seeds[b])` responses for prompt b, group-adjacent. All groups have the same size."""
        assert self._sampler is not None, "generate() belongs inside `with engine.serving(policy):`"
        responses: list[Response] = []
        for start in range(0, len(prompts), self.prompts_per_batch):
            part = slice(start, start + self.prompts_per_batch)
            responses += self._generate_batch(prompts[part], sampling, seeds[part])
        return responses

    @torch.inference_mode()
    def _generate_batch(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]
    ) -> list[Response]:
        sampler = self._sampler
        group_size = len(seeds[0])
        assert all(len(group) == group_size for group in seeds), "groups of one size"
        noise = torch.stack([_uniforms(seed, sampling.max_tokens) for group in seeds for seed in group])  # (N, R)
        rows = torch.arange(len(noise))  # which response each live row is
        token_ids: list[list[int]] = [[] for _ in rows]
        logprobs: list[list[float]] = [[] for _ in rows]
        ended = [False] * len(noise)
        state = sampler.prefill(prompts, group_size)
        for position in range(sampling.max_tokens):
            tokens, chosen = draw(sampler.next_logits(state), noise[rows, position], sampling)
            for row, token, logprob in zip(rows.tolist(), tokens.tolist(), chosen.tolist(), strict=True):
                if not ended[row]:  # a row that has ended goes on as ballast until it is dropped
                    token_ids[row].append(token)
                    logprobs[row].append(logprob)
                    ended[row] = token in sampler.stop_ids
            live = [i for i, row in enumerate(rows.tolist()) if not ended[row]]
            if not live or position + 1 == sampling.max_tokens:
                break
            if len(live) < 0.75 * len(rows):  # dropping rows copies the cache: worth it only in bulk
                keep = torch.tensor(live)
                state.select(keep.to(tokens.device))
                rows, tokens = rows[keep], tokens[keep.to(tokens.device)]
            sampler.append(state, tokens)
        return [
            Response(sampler.decode(ids), tuple(ids), tuple(lps), truncated=not end)
            for ids, lps, end in zip(token_ids, logprobs, ended, strict=True)
        ]


def _uniforms(seed: int, count: int) -> Tensor:
    """(count,) float64 numbers in [0, 1) that belong to one response alone, whatever is sampled beside it."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Draws one token per row by inverting the cumulative distribution.

    Args:
        logits: (N, V).
        uniform: (N,) in [0, 1).
        sampling: Temperature (0 = greedy) and top-p.

    Returns:
        Token ids (N,) and their log-probs (N,) under the whole distribution at temperature 1, before top-p.

    Raises:
        EngineError: logits that are not finite.
    """
    full = logits.log_softmax(-1)
    if not full.amax(-1).isfinite().all():
        raise EngineError(
            "The policy's logits are not finite: its weights have diverged. Lower optimizer.lr, and go on from a checkpoint "
            "before that or start anew."
        )
    if sampling.temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, full.gather(-1, tokens[:, None])[:, 0]
    probs = (logits / sampling.temperature).softmax(-1)
    tokens = torch.empty(len(probs), dtype=torch.long, device=probs.device)
    noise = uniform.to(probs.device)[:, None]
    for rows, sorted_probs, order in _most_likely(probs, sampling.top_p):
        tokens[rows] = _pick(
            sorted_probs, order, noise[rows], probs[rows].double().sum(-1, keepdim=True), sampling.top_p
        )
    return tokens, full.gather(-1, tokens[:, None])[:, 0]


def _most_likely(probs: Tensor, top_p: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows with their probabilities from the largest on, as far as the nucleus can reach, and whose they are.

    A few tokens nearly always hold the nucleus; only the other rows are sorted as a whole. Each row is judged by itself, so a
    response does not depend on what is sampled beside it. Without a nucleus any order will do.
    """
    if top_p >= 1:
        yield (
            torch.arange(len(probs), device=probs.device),
            probs,
            torch.arange(probs.shape[-1], device=probs.device).expand_as(probs),
        )
        return
    head = probs.topk(min(_HEAD, probs.shape[-1]), dim=-1)
    short = head.values.double().sum(-1) >= top_p * probs.double().sum(-1)
    if bool(short.any()):
        yield short.nonzero()[:, 0], head.values[short], head.indices[short]
    if not bool(short.all()):
        long = (~short).nonzero()[:, 0]
        yield long, *probs[long].sort(dim=-1, descending=True, stable=True)


def _pick(probs: Tensor, order: Tensor, noise: Tensor, total: Tensor, top_p: float) -> Tensor:
    """One token (N,) of each row's nucleus, by inverting its cumulative distribution at `noise` (N, 1)."""
    cumulative = probs.double().cumsum(-1)
    kept = (cumulative - probs) < top_p * total  # the token that crosses the line stays
    mass = torch.where(kept, cumulative, 0.0).amax(-1, keepdim=True)
    last = kept.sum(-1, keepdim=True) - 1
    picked = torch.searchsorted(cumulative, noise * mass, right=True).minimum(last)
    return order.gather(-1, picked)[:, 0]
