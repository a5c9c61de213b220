"""GTA as T3-Agent and TraceR1 report it: AnsAcc, ToolAcc and CodeExec. It knows no file, no agent and no sandbox.

AnsAcc is the owner's (`answer_rules/gta_t3`). For the other two no code was ever released; the MAT paper says "accuracy of tool selection
and answer summary" and "percentage of generated code that executes without errors". So they are defined here, and our figures carry the
definition's name: `_task` and `_step`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tracer1.metrics.answer_rules import GtaGold, Verdict
from tracer1.metrics.answer_rules.gta_t3 import gta_t3
from tracer1.metrics.gta import GtaTask, call_of, turn_pairs
from tracer1.metrics.share import Share, share_of

PYTHON = "python_interpreter"
FINAL = "final_answer"
# The tool of T3's that does the work of one of GTA's 14; T3 answers with its own tools (MAT-Agent issue 14)
T3_TOOL_OF = {
    "OCR": "visualizer", "ImageDescription": "visualizer", "RegionAttributeDescription": "visualizer", "CountGivenObject": "visualizer",
    "MathOCR": "visualizer", "TextToBbox": "objectlocation", "Calculator": PYTHON, "Solver": PYTHON, "Plot": PYTHON, "DrawBox": PYTHON,
    "AddText": PYTHON, "GoogleSearch": "ask_search_agent", "TextToImage": "image_generator", "ImageStylization": "image_edit",
}  # fmt: skip
T3_TOOLS = frozenset(
    {
        "visualizer", "inspect_file_as_text", "objectlocation", "facedetection", "segmentation", "image_generator", "image_edit",
        "ask_search_agent", PYTHON,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Emitted:
    """One action as the agent gave it: a block of code, or a call."""

    tools: Sequence[str] = ()  # that it calls; Python alone is `python_interpreter`; none where it could not be read
    failed: bool = False  # it could not be read, or raised


@dataclass(frozen=True, slots=True)
class ToolEpisode:
    """What the agent did for one query, and what the reference calls for it."""

    emitted: Sequence[Emitted]
    reference: Sequence[str]  # names of tools, GTA's or T3's


def t3_name(tool: str) -> str:
    """The T3 tool for one of GTA's; any other name as it is."""
    return T3_TOOL_OF.get(tool, tool)


def t3_ans_acc(answers: Iterable[tuple[str | None, GtaGold]]) -> tuple[Share, Share]:
    """AnsAcc over the queries that count (156 of GTA's 229), and over all of them, which the owner prints beside it."""
    verdicts: list[Verdict] = [gta_t3(prediction, gold) for prediction, gold in answers]
    counted = share_of(verdicts)
    return counted, Share(counted.hits, len(verdicts))


def tool_acc_task(episodes: Iterable[ToolEpisode], known: Collection[str] = T3_TOOLS) -> Share:
    """Queries for which every tool of the reference was called, failed or not, and none that there is not.

    Args:
        episodes: One for each query.
        known: The tools that the agent was offered, `final_answer` aside.
    """
    episodes = list(episodes)
    return Share(sum(_chosen_well(episode, known) for episode in episodes), len(episodes))


def _chosen_well(episode: ToolEpisode, known: Collection[str]) -> bool:
    used = {t3_name(tool) for action in episode.emitted for tool in action.tools} - {FINAL}
    return used <= set(known) and used >= {t3_name(tool) for tool in episode.reference}


def tool_acc_step(tasks: Iterable[GtaTask]) -> Share:
    """The official ToolAcc, step by step after the reference's own turns, with both names as T3's.

    Raises:
        DataError: more or fewer predictions than turns.
    """
    pairs = [(call_of(turn), call_of(mine)) for turn, mine in turn_pairs(tasks)]
    wanted = [(theirs[0], mine) for theirs, mine in pairs if theirs is not None]
    hits = sum(mine is not None and t3_name(mine[0]) == t3_name(theirs) for theirs, mine in wanted)
    return Share(hits, len(wanted))


def code_exec_step(episodes: Iterable[ToolEpisode]) -> Share:
    """Actions that ran without an exception, of all that were emitted; one that could not be read did not run."""
    actions = [action for episode in episodes for action in episode.emitted]
    return Share(sum(not action.failed for action in actions), len(actions))


def code_exec_task(episodes: Iterable[ToolEpisode]) -> Share:
    """Queries with no failed action; one without any action has executed nothing, and is none of them."""
    episodes = list(episodes)
    whole = [e for e in episodes if e.emitted and not any(action.failed for action in e.emitted)]
    return Share(len(whole), len(episodes))
