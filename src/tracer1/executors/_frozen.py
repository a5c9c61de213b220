"""Executes a plan's first step with a frozen model: its instruction goes to the model, the reply comes back as an action.

It knows no model (a Dialect does), no server (an Asker does) and no reward. What the planner got wrong, or the model understood as
something that cannot be done, is `Outcome.error`, a verdict; where nobody answered anything of use it is `Outcome.fault`, none.
"""

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tracer1.actions import RELATIVE_1000, CoordinateSpace, action_to_wire
from tracer1.chat import ChatReply, ChatRequest, Message
from tracer1.errors import ConfigError
from tracer1.executors._reply import UNREADABLE, Parse
from tracer1.registry import check_kind, nearest
from tracer1.schema import Outcome, Plan, Rollout, Step

log = logging.getLogger(__name__)

_SAMPLING = {"temperature": float, "max_tokens": int, "seed": int}


class Asker(Protocol):
    """Answers requests: a server, a model in this process, or a recording."""

    def ask(self, requests: Sequence[ChatRequest], check: Callable[[str], str]) -> list[ChatReply]:
        """One reply per request, in order; a text that `check` objects to is none."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one model is spoken to."""

    messages: Callable[[Step, str], tuple[Message, ...]]  # (step, instruction) -> the prompt with the screenshot
    parse: Parse
    space: Callable[[int, int], CoordinateSpace] | None = (
        None  # of a screenshot's size; None is 0..1000, whatever the size
    )


@dataclass(frozen=True, slots=True)
class FrozenModel:
    """Executes rollouts.

    Args:
        dialect: Of the model.
        sampling: temperature, max_tokens, seed of ChatRequest.
        goal: The model reads the task's goal, too, not only the step's instruction.
    """

    dialect: Dialect
    sampling: Mapping[str, Any]
    goal: bool = False

    def __post_init__(self) -> None:
        for name, value in self.sampling.items():
            if name not in _SAMPLING:
                raise ConfigError(f"executor.sampling has no setting {name!r}.{nearest(name, list(_SAMPLING))}")
            if value is not None or name != "seed":
                check_kind(f"executor.sampling.{name}", value, _SAMPLING[name])

    def execute(self, rollouts: Sequence[Rollout], asker: Asker) -> list[Outcome]:
        """One outcome per rollout, in order."""
        outcomes = [_not_executable(rollout) for rollout in rollouts]
        left = [i for i, outcome in enumerate(outcomes) if outcome is None]
        requests = [self._request(rollouts[i]) for i in left]
        replies = asker.ask(requests, self._complaint) if requests else []
        for i, reply in zip(left, replies, strict=True):
            outcomes[i] = self._outcome(rollouts[i], reply)
        return outcomes

    def _request(self, rollout: Rollout) -> ChatRequest:
        instruction = rollout.plan.steps[0].action.step_instruction.strip()
        if self.goal:
            instruction = f"{rollout.step.instruction.strip()}\nNext step: {instruction}"
        plain = instruction.replace("<|", "< |")  # a plan cannot spell a control token such as an image's placeholder
        return ChatRequest(self.dialect.messages(rollout.step, plain), **self.sampling)

    def _complaint(self, text: str) -> str:
        """Why a reply's text is of no use."""
        reply = self.dialect.parse(text, RELATIVE_1000)  # whether there is a call does not depend on the space
        return reply.error if not reply.actions and reply.kind == UNREADABLE else ""

    def _outcome(self, rollout: Rollout, reply: ChatReply) -> Outcome:
        if reply.fault:
            return Outcome(fault=reply.fault)
        try:
            space = RELATIVE_1000 if self.dialect.space is None else self.dialect.space(*_size(rollout.step.screenshot))
        except (ValueError, OSError, SyntaxError) as error:
            return Outcome(fault=f"the screenshot of {rollout.step.key} cannot be used: {error}")
        read = self.dialect.parse(reply.text, space)
        said = {"reply": reply.text, "more": [action_to_wire(action) for action in read.actions[1:]]}
        if not read.actions:
            return Outcome(error=read.error, kind=read.kind, value=said, cached=reply.cached)
        instruction = rollout.plan.steps[0].action.step_instruction
        action = replace(read.actions[0], step_instruction=instruction)
        return Outcome(action=action, value=said, cached=reply.cached)


def _not_executable(rollout: Rollout) -> Outcome | None:
    """The verdict on a step that no model needs to be asked about; None where one does.

    Raises:
        ConfigError: a step of a tool task.
    """
    step = rollout.step
    if step.platform == "tool":
        raise ConfigError(
            f"Step {step.key!r} calls tools, and this executor acts on screens. Choose executor=t3, or another data group."
        )
    if step.screenshot is None:
        return Outcome(error="there is no screenshot to act on", kind="no_screenshot")
    error = _unreadable(rollout.plan)
    if error:
        return Outcome(error=error, kind="unreadable_plan")
    if not rollout.plan.steps[0].action.step_instruction.strip():
        return Outcome(error="the first step has no step_instruction", kind="no_instruction")
    return None


def _unreadable(plan: Plan) -> str:
    if not plan.steps:
        return plan.error or "the plan has no steps"
    first = plan.steps[0]  # never a later one: a broken first step is a failed step
    return "" if first.action is not None else f"the first step cannot be read: {first.error}"


def _size(screenshot: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header."""
    from PIL import Image

    with Image.open(io.BytesIO(screenshot)) as image:
        return image.size
