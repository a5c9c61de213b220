"""Runs recorded trajectories again, block by block, and says which give what they gave. It knows no file format.

Tools answer what they gave when they were recorded, so that blocks without a tool of their own have the state that they had.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tracer1.answers import same_answer
from tracer1.executors._t3_episode import Episode, Terms, same_printed
from tracer1.executors._t3_replay import blocks_before, own_block
from tracer1.schema import Step
from tracer1.toolbox.acting import FINAL, printed


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded step, run again."""

    key: str
    kind: str  # observation | answer
    tool_free: bool  # its code calls no tool but final_answer
    alone: bool  # nor does the code of any step of its trajectory
    recorded: str
    again: str  # what it gave this time, or the error
    exact: bool  # the same text
    same: bool  # the same but for rounding, white space and the order of sets


def run_again(terms: Terms, trajectory: Sequence[Step]) -> Iterator[Row]:
    """A row for each step of a trajectory whose outcome is recorded.

    Args:
        terms: With the toolbox and its sandbox.
        trajectory: All steps, in order, as read from shards.

    Raises:
        ExecutorError: The sandbox failed.
    """
    episode = Episode(terms, trajectory[-1])
    with ExitStack() as stack:
        episode.open(stack)
        for step in trajectory:
            for block in blocks_before(step):
                if block.spoilt and block.code in (step.meta.get("code_before") or ()):
                    episode.again(block)
            yield from _again(episode, step, all(map(_is_tool_free, trajectory)))


def _is_tool_free(step: Step) -> bool:
    return set(step.meta.get("calls", ())) <= {FINAL} and not step.meta.get("code_before")


def _again(episode: Episode, step: Step, alone: bool) -> Iterator[Row]:
    """Runs one step's block; no row where it was recorded to fail or to print nothing."""
    episode.hands.live.clear()
    block, action = own_block(step), step.future[0].action
    ran = episode.again(block)
    free = set(step.meta.get("calls", ())) <= {FINAL}
    if action.content is not None:
        given = [
            printed(call.arguments.get("answer"))
            for call in episode.hands.live
            if call.tool == FINAL and call.result.ok
        ]
        again = given[0] if given else ran.error
        same = bool(given) and same_answer(again, action.content)
        exact = bool(given) and again.strip() == action.content.strip()
        yield Row(step.key, "answer", free, alone, action.content, again, exact, same)
    elif block.output and not block.failed:
        again = ran.output if ran.ok else f"{ran.output}{ran.error}"
        exact = ran.ok and again.strip() == block.output.strip()
        same = ran.ok and same_printed(again, block.output)
        yield Row(step.key, "observation", free, alone, block.output, again, exact, same)


def survey_text(rows: Sequence[Row]) -> str:
    """The counts as a table, and the first line in which each tool-free step differs."""
    lines = ["| steps | recorded | the same text | the same values |", "|---|---|---|---|"]
    for kind in ("observation", "answer"):
        those = [row for row in rows if row.kind == kind]
        lines.append(
            _counted(f"{kind}s of steps that call a tool, answered as recorded", [r for r in those if not r.tool_free])
        )
        lines.append(_counted(f"{kind}s of tool-free steps", [r for r in those if r.tool_free]))
        lines.append(_counted("of them in trajectories without any tool", [r for r in those if r.alone]))
    differing = [row for row in rows if row.tool_free and not row.same]
    return "\n".join([*lines, *(f"{row.key}: {_first_difference(row)}" for row in differing)])


def _counted(name: str, rows: Sequence[Row]) -> str:
    return f"| {name} | {len(rows)} | {sum(row.exact for row in rows)} | {sum(row.same for row in rows)} |"


def _first_difference(row: Row) -> str:
    mine, theirs = row.again.strip().splitlines(), row.recorded.strip().splitlines()
    place = next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
    now, then = (lines[place] if place < len(lines) else "(nothing)" for lines in (mine, theirs))
    return f"line {place + 1} was {then!r:.120} and is {now!r:.200}"
