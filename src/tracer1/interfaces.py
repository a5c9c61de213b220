"""The seams, as Protocols. Whoever implements one knows its docstring and nothing of the callers."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tracer1.errors import ConfigError
from tracer1.schema import Action, Outcome, Plan, Prompt, Response, Rollout, Step


class Reward(Protocol):
    """A pure function of one rollout. Whatever needs I/O happened before, in the executor."""

    def __call__(self, rollout: Rollout, **settings: Any) -> float:
        """A finite number for any rollout, an empty plan included. A bug in a reward raises; a bad response scores low."""


class Executor(Protocol):
    """Runs the first action of each plan with a frozen tool agent (UI-TARS, Qwen3-VL, the T3 toolbox)."""

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome per rollout, in order. A bad action gives `Outcome(error=...)`; a dead server raises ExecutorError."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are drawn: softmax at `temperature` (0 = greedy), nucleus of mass `top_p`, at most `max_tokens` tokens.

    Raises:
        ConfigError: settings that nothing can be drawn with.
    """

    temperature: float = 1.0
    top_p: float = 0.99
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and 0 < self.top_p <= 1 and self.max_tokens >= 1):
            raise ConfigError(
                f"sampling: temperature={self.temperature}, top_p={self.top_p}, max_tokens={self.max_tokens}; it takes a "
                "temperature >= 0, 0 < top_p <= 1 and max_tokens >= 1."
            )


class RolloutEngine(Protocol):
    """Samples responses. It knows nothing about rewards, plans or steps."""

    def serving(self, policy: Any) -> AbstractContextManager[None]:
        """While entered, `generate` answers with the current weights of `policy`."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        """`len(seeds[b])` responses for prompt b, group-adjacent. The same prompt, weights and seed give the same response."""


class Converter(Protocol):
    """Turns one raw data set into steps, a trajectory's steps in order and adjacent."""

    def __call__(self, source: Path) -> Iterator[Step]: ...


class Environment(Protocol):
    """A place where an agent acts: reset, look, act, score, close."""

    def reset(self, task: str, seed: int) -> tuple[str, bytes]:
        """Starts an episode; returns its instruction and the first screenshot (PNG)."""

    def step(self, action: Action) -> tuple[bytes, bool]:
        """Acts; returns the next screenshot and whether the episode has ended."""

    def score(self) -> float:
        """The environment's own raw reward of the episode so far."""

    def close(self) -> None: ...


class Benchmark(Protocol):
    """Scores plans against an owner's rule."""

    def score(self, steps: Sequence[Step], plans: Sequence[Plan]) -> dict[str, float]: ...
