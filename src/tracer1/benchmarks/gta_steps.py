"""GTA step by step: every turn of a query is asked after the reference's own turns before it, and nothing is executed.

The owner's InstAcc, ToolAcc, ArgAcc and SummAcc, and ToolAcc with both names as T3's. End to end: `gta`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._result import BenchmarkResult
from tracer1.benchmarks._tool_rows import METHOD, pooled
from tracer1.environments._tools.gta_queries import GtaQuery, absolute, read_gta
from tracer1.environments._tools.offers import offer, unknown
from tracer1.environments._tools.sources import gta_task
from tracer1.errors import ConfigError, DataError
from tracer1.metrics.answer_rules import Similarity
from tracer1.metrics.gta import GtaTask, StepFigures, Turn, call_of, step_figures
from tracer1.metrics.gta_t3 import tool_acc_step
from tracer1.metrics.sentence_similarity import sentence_similarity
from tracer1.schema import Action, PlanStep, Rollout, Step
from tracer1.toolbox.acting import FINAL
from tracer1.toolbox.checking import Checker
from tracer1.toolbox.spec import ToolError

SUMMARIZE = (
    "Now sum up what was found and give the final answer; call no tool."  # the owner asks for it before the last turn
)
ABSTRACTION, SEEN = (
    200,
    2000,
)  # characters of a tool's answer in the history, and of the last one: as in MM-Traj's steps
_FIGURES = {
    "inst_accuracy": "inst_acc",
    "tool_accuracy": "tool_acc",
    "arg_accuracy": "arg_acc",
    "summary_accuracy": "summ_acc",
}


@BENCHMARKS.register("gta_steps")
@dataclass(kw_only=True)
class GtaSteps:
    """The owner's step-by-step mode, see `interfaces.Benchmark`.

    Args:
        source: dataset.json or the folder that holds it, with the images beside it.
        embedder: A folder with sentence-transformers/all-mpnet-base-v2; without it SummAcc is not known, for 16 golds are sentences.
        images: Show the first image; without, names alone, as the owner's agents are told, and no image need be there.
        history: Earlier turns of the reference that a prompt shows (K).
        draws: Bootstrap draws over queries.
        seed: Of the draws.
    """

    source: str
    embedder: str = ""
    images: bool = True
    history: int = 4
    draws: int = 1000
    seed: int = 0
    queries: Mapping[str, GtaQuery] = field(init=False, repr=False)
    similarity: Similarity | None = field(init=False, repr=False)

    name: ClassVar[str] = "gta_steps"
    point: ClassVar[str] = "planner"

    def __post_init__(self) -> None:
        if self.source is None:
            raise ConfigError("benchmark.source is missing: name GTA's dataset.json, or the folder that holds it.")
        queries = read_gta(self.source)
        self.refused = {query.key: why for query in queries if (why := self._refusal(query))}
        self.queries = {query.key: query for query in queries if query.key not in self.refused}
        if not self.queries:
            key, why = next(iter(self.refused.items()))
            raise DataError(
                f"{self.source}: no query can be asked; {len(self.refused)} are refused, e.g. {key}: {why}."
            )
        self.similarity = sentence_similarity(self.embedder) if self.embedder else None
        self._turns: dict[str, dict[int, Turn | None]] = {key: {} for key in self.queries}
        self.counts = {"unreadable": 0, "too_long": 0, "failed_calls": 0}

    def _refusal(self, query: GtaQuery) -> str:
        if not any(_is_asked(turn) for turn in query.dialogs):
            return "its dialog has no turn of the assistant"
        return gta_task(query).refusal if self.images else unknown([str(tool["name"]) for tool in query.tools])

    @property
    def total(self) -> int:
        """Turns of the assistant in all references."""
        return sum(_is_asked(turn) for query in self.queries.values() for turn in query.dialogs)

    def batches(self, size: int = 64) -> Iterator[list[Step]]:
        """A step for every turn, query by query."""
        batch: list[Step] = []
        for query in self.queries.values():
            for step in steps_of(query, self.history, self.images):
                batch.append(step)
                if len(batch) == size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def add(self, steps: Sequence[Step], rollouts: Sequence[Rollout]) -> list[dict[str, Any]]:
        """Keeps what was predicted for each turn; one without a plan that can be read is wrong."""
        by_key = {rollout.step.key: rollout for rollout in rollouts}
        return [self._add(step, by_key.get(step.key)) for step in steps]

    def _add(self, step: Step, rollout: Rollout | None) -> dict[str, Any]:
        query = self.queries[step.trajectory]
        first = rollout.plan.steps[0] if rollout is not None and rollout.plan.steps else None
        action = None if first is None else first.action
        turn = None if action is None else _turn(action, query)
        self.counts["too_long"] += rollout is None
        self.counts["unreadable"] += rollout is not None and turn is None
        self.counts["failed_calls"] += "error" in (turn or {})
        self._turns[query.key][step.index] = turn
        gold = [said for said in query.dialogs if _is_asked(said)][step.index]
        return {
            "key": step.key,
            "trajectory": step.trajectory,
            "index": step.index,
            "gold": dict(gold),
            "predicted": turn,
            "response": None if rollout is None else rollout.response.text,
        }

    def result(self) -> BenchmarkResult:
        """The figures of all that was added."""
        tasks = [self._task(query) for query in self.queries.values()]
        by_query = [step_figures([task], self.similarity) for task in tasks]
        figures = {f"val/gta_steps/gta_official.{name}": self._pooled(by_query, key) for name, key in _FIGURES.items()}
        figures["val/gta_steps/gta_t3.tool_accuracy_step"] = pooled(
            [tool_acc_step([task]) for task in tasks], self.draws, self.seed
        )
        unknown = sum(query.kind == "unknown" for query in self.queries.values())
        about = {
            "rules": {
                "gta_official": "turn by turn after the reference's own",
                "gta_t3": "the same, with names as T3's",
            },
            "point": self.point,
            "history": self.history,
            "images": self.images,
            "counts": {**self.counts, "queries": len(tasks), "refused": len(self.refused), "without_gold": unknown},
            "refused": self.refused,
            "bootstrap": {"method": METHOD, "draws": self.draws, "seed": self.seed},
        }
        headline = "val/gta_steps/gta_official.tool_accuracy"
        return BenchmarkResult(
            self.name, headline, figures, self.total, len(tasks), about, notes=tuple(self._notes(tasks, unknown))
        )

    def _task(self, query: GtaQuery) -> GtaTask:
        said = self._turns[query.key]
        asked = sum(_is_asked(turn) for turn in query.dialogs)
        return GtaTask(query.dialogs, query.gold, [said.get(index) for index in range(asked)])

    def _pooled(self, by_query: Sequence[StepFigures], key: str) -> Any:
        return pooled([getattr(figures, key) for figures in by_query], self.draws, self.seed)

    def _notes(self, tasks: Sequence[GtaTask], unknown: int) -> Iterator[str]:
        if self.refused:
            yield (
                f"refused, not scored: {', '.join(f'{key} ({why})' for key, why in list(self.refused.items())[:5])}"
                + (f" and {len(self.refused) - 5} more" if len(self.refused) > 5 else "")
            )
        if unknown:
            yield f"{unknown:,} queries have no gold in {self.source}: no summary of theirs is counted"
        if self.similarity is None and any(isinstance(task.gold, list) for task in tasks):
            yield "gta_official.summary_accuracy is not known without benchmark.embedder: some golds are sentences"


def steps_of(query: GtaQuery, history: int, images: bool) -> Iterator[Step]:
    """A step for every turn of the assistant, in the state to which the reference's earlier turns had led.

    Args:
        query: Whose images are there, if they are to be shown.
        history: Earlier turns that each step shows.
        images: Whether the first one is shown.
    """
    picture = query.files[0].read_bytes() if images and query.files else None
    signatures = list(offer([str(tool["name"]) for tool in query.tools]).signatures)
    past: list[PlanStep] = []
    seen = ""
    for said in query.dialogs:
        if said.get("role") == "tool":
            seen = _content(said)
        if not _is_asked(said):
            continue
        call = call_of(said)
        yield Step(
            key=f"gta-{query.key}-{len(past):03d}".replace(".", "_"),
            dataset="gta",
            trajectory=query.key,
            index=len(past),
            instruction=query.instruction if call is not None else f"{query.instruction}\n{SUMMARIZE}",
            screenshot=picture,
            history=tuple(past[-history:] if history else ()),
            future=(),
            platform="tool",
            meta={"tools": signatures, "files": list(query.names), "observation": _middle_out(seen)},
        )
        known = " ".join(seen.split())[:ABSTRACTION]
        words = str(said.get("thought") or "")
        action = Action(FINAL, words) if call is None else Action(call[0], words, arguments=_named(call[1]))
        past.append(PlanStep(action, screenshot_abstraction=known, number=len(past) + 1))


def _is_asked(turn: Turn) -> bool:
    return turn.get("role") == "assistant"


def _named(arguments: Any) -> Mapping[str, Any]:
    return arguments if isinstance(arguments, Mapping) else {}


def _content(turn: Turn) -> str:
    """What a tool said: `{"type", "content"}`, or a text."""
    content = turn.get("content")
    return str(content.get("content", "")) if isinstance(content, Mapping) else str(content or "")


def _middle_out(text: str) -> str:
    half = SEEN // 2
    return text if len(text) <= SEEN else f"{text[:half]} ... {text[-half:]}"


def _turn(action: Action, query: GtaQuery) -> Turn | None:
    """A predicted action in GTA's layout; as the owner's agent does it, a call that does not fit the query's tools has an `error`."""
    if action.action_type == FINAL:
        said = action.content if action.content is not None else (action.arguments or {}).get("answer")
        return None if said is None else {"role": "assistant", "content": str(said)}
    checker = Checker(offer([str(tool["name"]) for tool in query.tools]).tools)
    name, arguments, error = action.action_type, dict(action.arguments or {}), None
    try:
        name = checker.name(name)
        checker.arguments(name, arguments)
    except ToolError as wrong:
        error = {"type": wrong.kind, "msg": str(wrong)}
    function = {"name": name, "arguments": {key: absolute(value, query.root) for key, value in arguments.items()}}
    turn = {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}
    return turn if error is None else {**turn, "error": error}
