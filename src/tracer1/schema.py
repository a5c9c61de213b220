"""The nouns: Step, Action, PlanStep, Plan, Prompt, Response, Outcome, Rollout. Standard library only.

Places are floats from 0 to 1000 relative to the stored screenshot (x to the right, y down), whatever its size in pixels:
the planner's own space. `actions.py` converts from and to every other space.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Point = tuple[float, float]  # x, y in 0..1000
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in 0..1000

DONE, NOT_DONE = "done", "not done"


@dataclass(frozen=True, slots=True)
class Action:
    """One GUI action or tool call. Which fields a type needs is said by `actions.ACTION_TYPES`."""

    action_type: str  # canonical name ("click") for GUI actions, the tool's name for tool calls
    step_instruction: str = ""  # g_t: the imperative sentence that is handed to the executor
    point: Point | None = None
    end_point: Point | None = None  # where a drag ends
    content: str | None = None  # text to type, URL to open, final answer
    key: str | None = None  # "ctrl c": space-separated, lower case
    direction: str | None = None  # up, down, left, right: the side whose content is revealed
    app_name: str | None = None
    arguments: Mapping[str, Any] | None = None  # tool calls
    code: str | None = None  # tool calls written as Python


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of a plan, predicted or the expert's. A field that could not be read is None and `error` says why;
    an action with a bad argument keeps only its type and instruction."""

    action: Action | None
    status: str | None = NOT_DONE  # "done" | "not done"
    screenshot_abstraction: str | None = ""
    number: int | None = None  # the k of "Step k:", 1-based within the trajectory
    error: str = ""  # what is wrong with its text; what the format reward counts is `alignment.is_valid_step`

    @property
    def readable(self) -> bool:
        """Whether action and status could be read: only such steps take part in the alignment (method, section 2)."""
        return self.action is not None and self.status is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a response says will happen: always a Plan, never an exception."""

    steps: tuple[PlanStep, ...] = ()  # one for every `Step k:` marker, valid or not
    thought: str = ""
    framed: bool = False  # the whole response is one think block followed by one answer block
    error: str = ""  # what is wrong with the response as a whole

    @property
    def readable_steps(self) -> tuple[PlanStep, ...]:
        """The steps whose action and status could be read, in order."""
        return tuple(step for step in self.steps if step.readable)


@dataclass(frozen=True, slots=True)
class Step:
    """One training instance: what the agent sees at t, and what the expert did from t on."""

    key: str  # "<dataset>-<trajectory>-<t:03d>", unique, without dots; also the shard member's name
    dataset: str
    trajectory: str  # the trajectory's id within the data set
    index: int  # t, 0-based
    instruction: str  # u, the goal of the whole trajectory
    screenshot: bytes | None  # PNG or JPEG as recorded; None where the source has none
    history: tuple[PlanStep, ...]  # h_t: the last K steps before t, oldest first
    future: tuple[PlanStep, ...]  # the expert's steps from t on, never empty; numbered from t + 1
    boxes: tuple[Box, ...] = ()  # the target of future[0]; any hit counts; empty where the source has none
    platform: str = "web"  # desktop | mobile | web | tool
    image_size: tuple[int, int] | None = None  # width, height in pixels
    # licence, source_ref, seed, ... never shown to the policy; but for `tools`, `files` and `observation` of tool steps (prompts.py)
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A step as the policy reads it: tokenised and resized once; everything after carries these."""

    key: str
    token_ids: tuple[int, ...]
    tensors: Mapping[
        str, Any
    ]  # what the model's processor made of the image: pixel_values (patches, D), image_grid_thw (1, 3)
    starts_in_think: bool = False  # the chat template already opened `<think>`


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled answer."""

    text: str
    token_ids: tuple[int, ...]  # R sampled ids, the end token included
    logprobs: tuple[float, ...]  # R natural logs under the sampler's full distribution at temperature 1
    truncated: bool = False  # stopped by the token limit


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing the first step of a plan gave."""

    action: Action | None = None  # the executed GUI action, in the screenshot's 0..1000 space
    answer: str | None = None  # a tool's answer: what its call printed, or the final answer
    value: Any = None  # the same as a plain JSON value, where the tool returned one: boxes, numbers, names of files
    error: str = ""  # why a bad action was not executed, or what went wrong in it: a verdict, scored 0
    kind: str = (
        ""  # of the error, one of few, to be counted: "unknown_tool", "bad_arguments", "exception", "timeout" ...
    )
    fault: str = ""  # the infrastructure failed for good: no verdict; the rollout is masked out of its group
    cached: bool = False  # answered without executing anything
    score: float | None = (
        None  # the environment's own, of the whole episode that this was a turn of; None: none was played
    )


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response on its way through a round; each stage adds fields, left to right (`dataclasses.replace`)."""

    step: Step
    response: Response
    plan: Plan = field(default_factory=Plan)
    outcome: Outcome | None = None
    reward: float | None = None  # also None where it is masked: nobody can say what it is worth
    terms: Mapping[str, float] = field(default_factory=dict)
    advantage: float | None = None

    @property
    def masked(self) -> bool:
        """Whether the infrastructure failed on it: it takes no part in its group's comparison, nor in the loss."""
        return self.outcome is not None and bool(self.outcome.fault)
