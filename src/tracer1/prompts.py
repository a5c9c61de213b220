"""Step -> chat messages (system prompt, screenshot, goal, history, horizon). It knows no tokenizer and no model.

The list of actions is generated from `actions.ACTION_TYPES`, the table the parser reads; a tool step brings the signatures of its
tools along in `meta["tools"]`.
"""

from collections.abc import Callable
from typing import Any

from tracer1.actions import describe
from tracer1.errors import UnknownName
from tracer1.parsing import format_plan
from tracer1.registry import nearest
from tracer1.schema import Action, PlanStep, Step

Messages = list[dict[str, Any]]  # [{"role": ..., "content": [{"type": "image"} | {"type": "text", "text": ...}]}]

_EXAMPLE = format_plan(
    [
        PlanStep(
            Action("click", "click the search box", point=(512, 133)), screenshot_abstraction="page with a search box"
        ),
        PlanStep(Action("type", "type the query", content="weather\n"), "done", "search box with the cursor in it"),
    ],
    thought="The search box is at the top.",
)

_SYSTEM = """You plan ahead for an agent that works on a {platform} screen. {look} the next steps that finish the task, at most \
{horizon}. Only the first one will be executed before you plan again.

Actions (a point is [x, y], whole numbers from 0 to 1000 relative to the screenshot):
{actions}

Think first, then answer with one line per step:
{example}
`screenshot_abstraction` says in a few words what the screen shows before the step. `step_instruction` is one imperative \
sentence. `status` is "done" on the step that finishes the task, otherwise "not done"."""


_TOOL_EXAMPLE = format_plan(
    [
        PlanStep(
            Action("visualizer", "read the total from the receipt", arguments={"question": "What is the total?"}),
            screenshot_abstraction="a photo of a receipt",
        ),
        PlanStep(Action("final_answer", "answer with the total", content="12.80"), "done", "the total is 12.80"),
    ],
    thought="The receipt has to be read first.",
)

_TOOL_SYSTEM = """You plan ahead for an agent that solves tasks by calling tools. Predict the next calls that finish the task, at \
most {horizon}. Only the first one will be executed before you plan again.

Tools (`action_type` is the tool's name; its arguments go into `arguments` by name, Python into `code`):
{tools}{actions}

Think first, then answer with one line per step:
{example}
`screenshot_abstraction` says in a few words what is known before the step. `step_instruction` is one sentence that says what \
the step is for. `status` is "done" on the step that finishes the task, otherwise "not done"."""


def _plain(text: str) -> str:
    """Text from outside cannot spell a control token such as an image's placeholder."""
    return text.replace("<|", "< |")


def history_lines(step: Step) -> list[str]:
    """The last steps as text, oldest first: number, action, instruction and what was seen."""
    first = step.index - len(step.history) + 1
    return [
        _plain(
            f"Step {first + i}: {past.action.action_type}: {past.action.step_instruction} ({past.screenshot_abstraction})"
        )
        for i, past in enumerate(step.history)
        if past.action is not None
    ]


def _image(step: Step) -> list[dict[str, Any]]:
    return [{"type": "image"}] if step.screenshot is not None else []


def _system(step: Step, horizon: int) -> str:
    if step.platform != "tool":
        look = "Look at the screenshot and predict" if step.screenshot is not None else "Without a screenshot, predict"
        parts = {"platform": step.platform, "actions": describe(step.platform), "example": _EXAMPLE}
        return _SYSTEM.format(look=look, horizon=horizon, **parts)
    tools = "".join(f"- {_plain(tool)}\n" for tool in step.meta.get("tools", ()))
    return _TOOL_SYSTEM.format(horizon=horizon, tools=tools, actions=describe("tool"), example=_TOOL_EXAMPLE)


def _at_hand(step: Step) -> str:
    """What a tool step has besides its image: the files, and what the last call gave. Nothing else of `meta` is shown."""
    if step.platform != "tool":
        return ""
    files, seen = step.meta.get("files"), step.meta.get("observation")
    return (f"Files: {_plain(', '.join(files))}\n" if files else "") + (
        f"Last output: {_plain(seen)}\n" if seen else ""
    )


def full_prompt(step: Step, horizon: int) -> Messages:
    """The prompt for models that have not seen the format: system prompt with the action list and an example."""
    history = "\n".join(history_lines(step)) or "(nothing yet)"
    text = (
        f"Task: {_plain(step.instruction)}\nDone so far:\n{history}\n{_at_hand(step)}"
        f"Plan the next steps, starting with Step {step.index + 1}."
    )
    return [
        {"role": "system", "content": [{"type": "text", "text": _system(step, horizon)}]},
        {"role": "user", "content": [*_image(step), {"type": "text", "text": text}]},
    ]


def brief_prompt(step: Step, horizon: int) -> Messages:
    """The prompt for small models that were warm-started on the format: goal, last instructions, where to go on from."""
    past = "".join(f"{_plain(p.action.step_instruction)}\n" for p in step.history if p.action is not None)
    text = f"Task: {_plain(step.instruction)}\n{past}{_at_hand(step)}Plan {horizon} from Step {step.index + 1}:"
    return [{"role": "user", "content": [*_image(step), {"type": "text", "text": text}]}]


STYLES: dict[str, Callable[[Step, int], Messages]] = {"full": full_prompt, "brief": brief_prompt}


def to_messages(step: Step, horizon: int, style: str = "full") -> Messages:
    """Chat messages for a step.

    Args:
        step: What the agent sees and has done.
        horizon: T, the most steps that a plan may have.
        style: `full` or `brief`.

    Raises:
        UnknownName: no such style.
    """
    if style not in STYLES:
        raise UnknownName(f"No prompt style {style!r}.{nearest(style, list(STYLES))} Known: {', '.join(STYLES)}.")
    return STYLES[style](step, horizon)
