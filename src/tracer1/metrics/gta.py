"""GTA's official figures, from dialogs and predictions as they stand in its files: step by step, and end to end.

Source: open-compass/GTA 37c2b601, opencompass/opencompass/datasets/gta_bench.py (GTABenchEvaluator). What looks odd below is what it does:
its published figures are exact fractions of 729, 557 and 172. It knows no file, no agent and no tool. T3's figures are in `gta_t3`.

A turn is a mapping: a call `{"role": "assistant", "tool_calls": [{"function": {"name", "arguments"}}]}`, with a key `error` where it
failed, or an answer `{"role": "assistant", "content"}`. None is a turn that could not be read: wrong, never left out.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracer1.errors import DataError
from tracer1.metrics.answer_rules import UNCOUNTED, GtaGold, Similarity, Verdict
from tracer1.metrics.answer_rules.gta_official import NOT_COMPUTED, gta_official
from tracer1.metrics.share import Share, share_of

Turn = Mapping[str, Any]

CATEGORIES = {
    "perception": ("OCR", "ImageDescription", "RegionAttributeDescription", "TextToBbox"),
    "operation": ("DrawBox", "AddText", "GoogleSearch"),
    "logic": ("Calculator", "Solver", "Plot", "MathOCR", "CountGivenObject"),
    "creativity": ("TextToImage", "ImageStylization"),
}
IMAGE_TOOLS = (
    "DrawBox",
    "AddText",
    "Plot",
    "TextToImage",
    "ImageStylization",
)  # the paper's text leaves Plot out, the code does not
NAMES = {name: category for category, names in CATEGORIES.items() for name in names}
_NONE_AT_ALL = 1e-5  # what the owner adds to denominators


@dataclass(frozen=True, slots=True)
class GtaTask:
    """One query with what was predicted for it."""

    reference: Sequence[Turn]  # the dialog; of its turns those of the assistant are looked at
    gold: GtaGold
    predicted: Sequence[
        Turn | None
    ]  # step by step: one for each turn of the assistant; end to end: all steps of the episode

    @property
    def turns(self) -> list[Turn]:
        """The reference's turns of the assistant: calls, then the answer."""
        return [turn for turn in self.reference if turn.get("role") == "assistant"]


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Step by step: every turn is predicted after the reference's own turns before it."""

    inst_acc: (
        Share  # of calls and counted answers. Answers to queries for an image are hits, but not in the denominator
    )
    tool_acc: Share  # of calls; one that failed counts by its name
    arg_acc: Share  # of calls: the same name and equal arguments
    summ_acc: Share  # of queries with a gold
    calls: int
    failed_calls: int


@dataclass(frozen=True, slots=True)
class Selection:
    """How well a category's tools were chosen. A hit is a reference call whose tool was called at all, so precision may exceed 1."""

    hits: int
    predicted: int
    reference: int

    @property
    def precision(self) -> float:
        """Hits of the predicted calls, with the owner's 1e-5 in the denominator."""
        return self.hits / (self.predicted + _NONE_AT_ALL)

    @property
    def recall(self) -> float:
        """Hits of the reference calls; 0 where there are none."""
        return self.hits / self.reference if self.reference else 0.0

    @property
    def f1(self) -> float:
        """What GTA's tables call P, O, L and C, 0..1 and a little more."""
        return 2 * self.precision * self.recall / (self.precision + self.recall + _NONE_AT_ALL)


@dataclass(frozen=True, slots=True)
class EpisodeFigures:
    """End to end: the agent acted on its own, and its last step is its answer."""

    ans_acc: Share  # of queries with a gold
    ans_acc_with_images: Share  # of all queries
    selection: Mapping[str, Selection]  # by category
    calls: int
    failed_calls: int


def call_of(turn: Turn | None) -> tuple[str, Any] | None:
    """Name and arguments of a turn's (first) call; None where it calls nothing that could be read."""
    calls = (turn or {}).get("tool_calls")
    function = (
        calls[0].get("function") if isinstance(calls, Sequence) and calls and isinstance(calls[0], Mapping) else None
    )
    return (
        (str(function["name"]), function.get("arguments"))
        if isinstance(function, Mapping) and "name" in function
        else None
    )


def answer_of(turn: Turn | None) -> str | None:
    """The text of a turn that answers; None of any other."""
    if turn is None or "tool_calls" in turn or turn.get("role") != "assistant":
        return None
    return turn["content"] if isinstance(turn.get("content"), str) else None


# --- step by step ----------------------------------------------------------------------------------------------------


def step_figures(tasks: Iterable[GtaTask], similarity: Similarity | None = None) -> StepFigures:
    """InstAcc, ToolAcc, ArgAcc and SummAcc.

    Args:
        tasks: As many predictions as turns, else a turn would be missing in the denominators.
        similarity: Of sentences, for the gold that is a list; without it SummAcc is not known.

    Raises:
        DataError: more or fewer predictions than turns.
    """
    tasks = list(tasks)
    pairs = turn_pairs(tasks)
    calls = [(call_of(turn), call_of(mine)) for turn, mine in pairs if call_of(turn) is not None]
    named = [mine for theirs, mine in calls if mine is not None and mine[0] == theirs[0]]
    equal = [mine for theirs, mine in calls if mine == theirs]
    golds = sum(bool(task.gold) for task in tasks)
    predicted = [mine for _, mine in pairs if call_of(mine) is not None]
    return StepFigures(
        inst_acc=Share(sum(_follows(turn, mine) for turn, mine in pairs), len(calls) + golds),
        tool_acc=Share(len(named), len(calls)),
        arg_acc=Share(len(equal), len(calls)),
        summ_acc=share_of((v for task in tasks for v in _summaries(task, similarity)), golds),
        calls=len(predicted),
        failed_calls=sum("error" in mine for mine in predicted),
    )


def turn_pairs(tasks: Iterable[GtaTask]) -> list[tuple[Turn, Turn | None]]:
    """Every turn of the reference with its prediction.

    Raises:
        DataError: more or fewer predictions than turns.
    """
    pairs: list[tuple[Turn, Turn | None]] = []
    for number, task in enumerate(tasks):
        if len(task.turns) != len(task.predicted):
            raise DataError(
                f"GTA task {number}: {len(task.predicted)} predictions for {len(task.turns)} turns of the assistant. Predict every turn "
                "once, and give None for one that could not be read."
            )
        pairs += zip(task.turns, task.predicted, strict=True)
    return pairs


def _follows(turn: Turn, mine: Turn | None) -> bool:
    """Whether a prediction is of its turn's kind, and no failure."""
    if mine is None or "error" in mine:
        return False
    return (call_of(turn) is None) == (call_of(mine) is None) and (
        call_of(mine) is not None or answer_of(mine) is not None
    )


def _summaries(task: GtaTask, similarity: Similarity | None) -> Iterable[Verdict]:
    """Of the turns where the reference answers, and the prediction does."""
    for turn, mine in zip(task.turns, task.predicted, strict=True):
        if call_of(turn) is None and answer_of(mine) is not None:
            yield gta_official(answer_of(mine), task.gold, similarity=similarity)


# --- end to end ------------------------------------------------------------------------------------------------------


def episode_figures(tasks: Iterable[GtaTask], similarity: Similarity | None = None) -> EpisodeFigures:
    """AnsAcc without and with queries for images, and how well tools were chosen.

    Args:
        tasks: With all steps of each episode; an empty one is a wrong answer.
        similarity: Of sentences, and of arguments as JSON; without it what needs them is not known.
    """
    tasks = list(tasks)
    answers = [_last_answer(task, similarity) for task in tasks]
    images = [_images(task, similarity) if not task.gold else UNCOUNTED for task in tasks]
    predicted = [turn for task in tasks for turn in task.predicted if call_of(turn) is not None]
    return EpisodeFigures(
        ans_acc=share_of(answers, sum(bool(task.gold) for task in tasks)),
        ans_acc_with_images=share_of([*answers, *images], len(tasks)),
        selection={category: _selection(tasks, category) for category in CATEGORIES},
        calls=len(predicted),
        failed_calls=sum("error" in turn for turn in predicted),
    )


def _last_answer(task: GtaTask, similarity: Similarity | None) -> Verdict:
    """Of the last step, if it answers; the empty text is no answer."""
    said = answer_of(task.predicted[-1]) if task.predicted else None
    return gta_official(said or None, task.gold, similarity=similarity)


def _images(task: GtaTask, similarity: Similarity | None) -> Verdict:
    """The product, over the reference's calls that make an image, of how like their arguments are: 1 where there are none.

    Of each such tool the last call that did not fail is taken; a tool that was not called makes it 0.
    """
    wanted = [call for call in map(call_of, task.turns) if call is not None and call[0] in IMAGE_TOOLS]
    made = dict(call for turn in task.predicted if "error" not in (turn or {}) and (call := call_of(turn)) is not None)
    if any(name not in made for name, _ in wanted):
        return Verdict(0.0, counted=True)
    if wanted and similarity is None:
        return NOT_COMPUTED
    alike = [max(0.0, float(similarity(json.dumps(theirs), json.dumps(made[name])))) for name, theirs in wanted]
    return Verdict(math.prod(alike), counted=True)


def _selection(tasks: Sequence[GtaTask], category: str) -> Selection:
    hits = predicted = reference = 0
    for task in tasks:
        called = [call[0] for call in map(call_of, task.predicted) if call is not None]
        wanted = [call[0] for call in map(call_of, task.turns) if call is not None and NAMES.get(call[0]) == category]
        predicted += sum(NAMES.get(name) == category for name in called)
        reference += len(wanted)
        hits += sum(name in called for name in wanted)
    return Selection(hits, predicted, reference)
