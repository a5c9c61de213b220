"""Stage 2's reward for tool calls: did the executed call give what the expert's gave? It does not know who executed it, or how.

`r = 1[answer matches]`; what matches depends on what the expert's tool gives (tools, section 2.1): see POLICIES.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tracer1.answers import (
    ANSWER_F1,
    TOLERANCE,
    argument_similarity,
    box_f1,
    read_boxes,
    same_answer,
    same_output,
    squeezed,
    token_f1,
)
from tracer1.errors import ConfigError
from tracer1.registry import nearest
from tracer1.rewards import REWARDS, checked_by, needs
from tracer1.schema import Action, Outcome, Rollout

# The policy of each tool that has one, ours and GTA's, in lower case; every other tool's is "output".
POLICIES: dict[str, str] = {
    "final_answer": "answer",
    **dict.fromkeys(("objectlocation", "facedetection", "texttobbox"), "boxes"),
    **dict.fromkeys(
        ("image_generator", "image_edit", "segmentation", "segment_box", "plot", "draw_box", "add_text"), "image"
    ),
    **dict.fromkeys(
        ("crop_image", "resize_image", "rotate_image", "paste_image", "convert_image", "side_by_side"), "image"
    ),
    **dict.fromkeys(
        ("detect_edges", "stylize_image", "drawbox", "addtext", "texttoimage", "imagestylization"), "image"
    ),
    **dict.fromkeys(
        ("visualizer", "ask_search_agent", "inspect_file_as_text", "ocr", "web_search", "visit_page"), "text"
    ),
    **dict.fromkeys(
        ("find_on_page", "imagedescription", "regionattributedescription", "mathocr", "googlesearch"), "text"
    ),
}
COMPUTING = frozenset({"python_interpreter", "calculator", "solver"})  # may stand in for each other


@dataclass(frozen=True, slots=True)
class _Rule:
    """The thresholds of one reward."""

    answer_f1: float
    text_f1: float
    iou: float
    boxes_f1: float
    arguments: float
    tolerance: float


def _check(settings: Mapping[str, object]) -> None:
    """Raises ConfigError for thresholds out of 0..1 and policies that are none."""
    for name in ("answer_f1", "text_f1", "iou", "boxes_f1", "arguments"):
        if not 0 < settings.get(name, 1) <= 1:
            raise ConfigError(f"answer_match.{name} is {settings[name]}; it must be above 0 and at most 1.")
    policies = settings.get("policies") or {}
    if not isinstance(policies, Mapping):
        raise ConfigError(f"answer_match.policies is {policies!r:.60}; write it as `policies: {{my_tool: text}}`.")
    for tool, policy in policies.items():
        if policy not in _COMPARE:
            hint = nearest(str(policy), list(_COMPARE))
            raise ConfigError(f"answer_match.policies.{tool} is {policy!r:.60}.{hint} Known: {', '.join(_COMPARE)}.")


@REWARDS.register("answer_match")
@needs("outcome")
@checked_by(_check)
def answer_match(
    rollout: Rollout,
    *,
    policies: Mapping[str, str] | None = None,
    answer_f1: float = ANSWER_F1,
    text_f1: float = 0.5,
    iou: float = 0.5,
    boxes_f1: float = 0.8,
    arguments: float = 0.5,
    tolerance: float = TOLERANCE,
) -> float:
    """1.0 if the outcome's answer matches what is recorded of the expert's step, else 0.0 (method, section 3).

    The tool that ran must be the expert's: a text that is printed instead of being looked up is no answer. Tools that only compute
    (python_interpreter, calculator, solver) may stand in for each other. Of texts and boxes both what was printed and what the tool
    gave must match. A step of the expert's that ends the task is matched by
    a final answer alone, however it was called. An outcome with an error scores 0.0.

    Policies, by the expert's tool: `answer` (`answers.same_answer`), `output` (`answers.same_output`), `boxes` (F1 of boxes matched
    one to one, printed numbers where the expert printed no boxes), `image` (the file is there and opens, which the executor has
    seen to, and the arguments are alike), `text` (token F1).

    Args:
        rollout: Needs an outcome, which an executor fills in; the reference is `outcome` and `answer` of its step's `meta`.
        policies: Tool -> policy, beside and before those of POLICIES.
        answer_f1: Token F1 from which two final answers agree.
        text_f1: Token F1 from which two texts of a model's or of the network's agree.
        iou: Intersection over union from which two boxes may be matched.
        boxes_f1: F1 of the matching from which two sets of boxes agree: one box must be hit, of many some may be missed.
        arguments: Likeness of the arguments from which two made images agree, see `answers.argument_similarity`.
        tolerance: Relative, of numbers.

    Raises:
        ConfigError: nothing was executed.
    """
    outcome, expert = rollout.outcome, rollout.step.future[0].action
    if outcome is None:
        raise ConfigError(
            f"Reward 'answer_match' scores what an executor did, and step {rollout.step.key!r} has no outcome. "
            "Set an executor, e.g. `executor=t3`, or use a reward of stage 1."
        )
    if outcome.error or outcome.answer is None or expert is None:
        return 0.0
    ends = expert.content is not None
    if ends != _ends(outcome) or not (ends or _same_tool(outcome, expert)):
        return 0.0
    named = {**POLICIES, **{_plain(tool): policy for tool, policy in (policies or {}).items()}}
    policy = "answer" if ends else named.get(_plain(expert.action_type), "output")
    rule = _Rule(answer_f1, text_f1, iou, boxes_f1, arguments, tolerance)
    return float(_COMPARE[policy](outcome, expert, _reference(rollout, ends), rule))


def _ends(outcome: Outcome) -> bool:
    return outcome.action is not None and outcome.action.content is not None


def _same_tool(outcome: Outcome, expert: Action) -> bool:
    ran, wanted = _plain(outcome.action.action_type if outcome.action else ""), _plain(expert.action_type)
    return ran == wanted or {ran, wanted} <= COMPUTING


def _plain(tool: str) -> str:
    """A tool's name as it is compared: plans are read with lower-case names."""
    return tool.strip().lower().replace("-", "_")


def _reference(rollout: Rollout, ends: bool) -> str:
    """What is recorded of the expert's step: what it printed, or the answer it gave."""
    if ends:
        return rollout.step.future[0].action.content
    return str((rollout.step.meta.get("outcome") or {}).get("text") or "")


def _answer(outcome: Outcome, expert: Action, reference: str, rule: _Rule) -> bool:
    return same_answer(outcome.answer, reference, rule.tolerance, rule.answer_f1)


def _output(outcome: Outcome, expert: Action, reference: str, rule: _Rule) -> bool:
    return same_output(outcome.answer, reference, rule.tolerance)


def _boxes(outcome: Outcome, expert: Action, reference: str, rule: _Rule) -> bool:
    theirs = read_boxes(reference)
    if not theirs and "[]" not in reference:
        return same_output(outcome.answer, reference, rule.tolerance)
    return all(box_f1(read_boxes(mine), theirs, rule.iou) >= rule.boxes_f1 for mine in _said_and_given(outcome))


def _image(outcome: Outcome, expert: Action, reference: str, rule: _Rule) -> bool:
    given = (outcome.action and outcome.action.arguments) or {}
    return bool(outcome.value) and argument_similarity(given, expert.arguments or {}) >= rule.arguments


def _text(outcome: Outcome, expert: Action, reference: str, rule: _Rule) -> bool:
    return all(
        squeezed(mine) == squeezed(reference) != "" or token_f1(mine, reference) >= rule.text_f1
        for mine in _said_and_given(outcome)
    )


def _said_and_given(outcome: Outcome) -> tuple[str, ...]:
    """What was printed and what the tool gave: who calls a tool and prints something else has not looked."""
    return (outcome.answer,) if outcome.value is None else (outcome.answer, str(outcome.value))


_COMPARE: dict[str, Callable[[Outcome, Action, str, _Rule], bool]] = {
    "answer": _answer,
    "output": _output,
    "boxes": _boxes,
    "image": _image,
    "text": _text,
}
