"""The seams, as Protocols. Whoever implements one knows its docstring and nothing of the callers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tracer1.errors import ConfigError
from tracer1.schema import Action, Outcome, Prompt, Response, Rollout, Step


class Reward(Protocol):
    """A pure function of one rollout. Whatever needs I/O happened before, in the executor."""

    def __call__(self, rollout: Rollout, **settings: Any) -> float:
        """A finite number for any rollout, an empty plan included. A bug in a reward raises; a bad response scores low."""


class Executor(Protocol):
    """Runs the first action of each plan with a frozen tool agent (UI-TARS, Qwen3-VL, the T3 toolbox)."""

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome per rollout, in order. A bad action gives `Outcome(error=...)`; a dead server, `Outcome(fault=...)`."""


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

    apart: (
        bool  # whether `generate` may go on while the policy is updated: it samples from weights of its own, elsewhere
    )

    def serving(self, policy: Any) -> AbstractContextManager[None]:
        """While entered, `generate` answers with the current weights of `policy`."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        """`len(seeds[b])` responses for prompt b, group-adjacent. The same prompt, weights and seed give the same response."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a raw data set that one worker reads from its beginning: a file, or a range of one."""

    name: str  # stable over runs and unique: what is resumed is found by it
    path: str  # what messages name
    start: int = 0  # bytes, rows or whatever the converter counts in
    end: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # what the converter wants to find again; plain values


@dataclass(frozen=True, slots=True)
class Task:
    """What all steps of a raw trajectory share."""

    dataset: str
    trajectory: str  # the owner's id
    instruction: str
    platform: str  # desktop | mobile | web | tool
    split: str | None = None  # the owner's; None where the source has no split
    meta: Mapping[str, Any] = field(default_factory=dict)  # licence, source_ref, ...: goes to every step


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the report."""

    kind: str  # dropped (the whole trajectory) | cut (from this record on) | repaired
    record: str  # trajectory id, or id/step
    reason: str  # one of few, to be counted: "screenshot missing"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of one raw trajectory: its steps in order from index 0, none where it was dropped."""

    task: Task
    steps: tuple[Step, ...]
    notes: tuple[Note, ...] = ()


class Converter(Protocol):
    """Reads one raw data set as its owner releases it. Its object is registered under the data set's name."""

    licence: str  # of the data, as the owner states it
    release: str  # which files, and where their owner says what is in them
    platform: str  # desktop | mobile | web | tool

    def units(self, source: Path) -> Sequence[Unit]:
        """The pieces that can be read side by side, in a fixed order. Raises DataError where `source` does not hold the data set."""

    def read(self, unit: Unit) -> Iterator[Converted]:
        """What became of each raw trajectory of the unit, in the order of the source, one at a time; the same in every run.

        A record that cannot be used is a note; a file that cannot be read on raises DataError with its name and the offset.
        """


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent is shown."""

    screenshot: bytes  # PNG or JPEG
    text: str = ""  # what the environment says beside it, "" where it says nothing
    shown: bool = True  # False: the screenshot only stands in for one, and the planner is told that there is none
    meta: Mapping[str, Any] = field(
        default_factory=dict
    )  # goes to the step's; of tools what the prompt shows of it (prompts.py)


class Environment(Protocol):
    """A place where an agent acts: reset, look, act, score, close. One episode at a time; several side by side are several of these.

    What the agent does wrong changes nothing or the score; a crashed browser, a dead machine raises EnvironmentFault, and the next
    `reset` begins on a whole one.
    """

    platform: str  # desktop | mobile | web | tool: which actions the agent is told of

    def tasks(self) -> Sequence[str]:
        """What `reset` takes, in a fixed order; refused ones included."""

    def refuses(self, task: str) -> str:
        """Why a task cannot be played or scored here, e.g. for want of a library or an application; "" where it can.

        Asked before anything is played: whoever plays several tasks leaves these out and names them, for they are no score of 0, and
        `reset` raises ConfigError with the same words. What is absent for all tasks raises MissingDependency.
        """

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        """Starts an episode; returns its instruction and the first observation.

        Raises:
            ConfigError: no such task, or one that is refused.
        """

    def step(self, action: Action) -> tuple[Observation, bool]:
        """Acts; returns the next observation and whether the episode has ended. An action that is not possible here does nothing."""

    def score(self) -> float:
        """The environment's own raw reward of the episode so far. Whether that is a success is the benchmark's rule."""

    def close(self) -> None:
        """Ends what it started."""


class Benchmark(Protocol):
    """Asks about recorded steps and scores the answers as their owner does. It knows nothing about how answers are sampled."""

    name: str
    point: str  # planner | executor: whose action is scored
    total: int  # steps

    def batches(self, size: int = 64) -> Iterator[list[Step]]:
        """All steps that answers are wanted for, in order, at most `size` at a time."""

    def add(self, steps: Sequence[Step], rollouts: Sequence[Rollout]) -> list[dict[str, Any]]:
        """Scores the rollouts of a batch; a step without one is wrong. Returns a plain row for each step."""

    def result(self) -> Any:
        """The figures of all that was added."""
