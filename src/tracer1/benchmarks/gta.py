"""GTA end to end: an agent answers its queries with real tools; the owner's figures and T3's, each under its scorer's name.

T3-Agent and TraceR1 answer with T3's nine tools instead of GTA's 14, and count objective queries only. Step by step: `gta_steps`.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._played import Row
from tracer1.benchmarks._published import GTA
from tracer1.benchmarks._result import BenchmarkResult
from tracer1.benchmarks._tool_played import ToolBenchmark
from tracer1.benchmarks._tool_rows import (
    answer_of_episode,
    did_in_episode,
    emitted,
    emitted_in_episode,
    over_queries,
    plain_result,
    pooled,
)
from tracer1.environments._tools.gta_queries import GtaQuery, absolute, read_gta
from tracer1.environments._tools.sources import gta_task
from tracer1.errors import ConfigError
from tracer1.interfaces import Environment
from tracer1.metrics.answer_rules import Similarity, Verdict
from tracer1.metrics.answer_rules.gta_t3 import gta_t3
from tracer1.metrics.episodes import Estimate, Sums
from tracer1.metrics.gta import CATEGORIES, GtaTask, episode_figures
from tracer1.metrics.gta_t3 import T3_TOOLS, ToolEpisode, code_exec_step, code_exec_task, tool_acc_task
from tracer1.metrics.sentence_similarity import sentence_similarity
from tracer1.metrics.share import Share, share_of
from tracer1.plan_act.episode import Episode


@BENCHMARKS.register("gta")
@dataclass(kw_only=True)
class GtaBenchmark(ToolBenchmark):
    """AnsAcc of both scorers; T3's ToolAcc and CodeExec, as we define them; with GTA's tools, the owner's choice of tools as well.

    Args:
        source: dataset.json or the folder that holds it, with the images beside it.
        tools: `t3` (the paper's), `gta`: of each query its own, or names.
        embedder: A folder with sentence-transformers/all-mpnet-base-v2; without it the owner's AnsAcc is not known, for 16 golds are
            sentences.
        max_steps: T3's agent has 8, the owner's 10.
        sandbox, limits, backends, cache: Of the environment `tools`.
    """

    source: str
    embedder: str = ""
    max_steps: int = 10
    queries: Mapping[str, GtaQuery] = field(init=False, repr=False)
    similarity: Similarity | None = field(init=False, repr=False)

    name: ClassVar[str] = "gta"
    rule: ClassVar[str] = "gta_t3"
    rule_says: ClassVar[str] = (
        "of every group of the whitelist some alias is a part of the answer; objective queries only"
    )
    published = GTA

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tools = self.tools or "gta"  # null: its owner's
        if self.source is None:
            raise ConfigError("benchmark.source is missing: name GTA's dataset.json, or the folder that holds it.")
        self.queries = {query.key: query for query in read_gta(self.source)}
        self.similarity = sentence_similarity(self.embedder) if self.embedder else None

    def make_environment(self) -> Environment:
        """A toolbox with its own sandbox."""
        tasks = [gta_task(query) for query in self.queries.values()]
        return self.environment_of(tasks, None if self.tools == "gta" else self.tools)

    def about(self, environment: Environment) -> Mapping[str, Any]:
        """What was asked, and with which tools."""
        kinds = [query.kind for query in self.queries.values()]
        return {
            "queries": len(kinds),
            **{f"queries_{kind}": kinds.count(kind) for kind in sorted(set(kinds))},
            **super().about(environment),
        }

    def row(self, episode: Episode) -> dict[str, Any]:
        """With the answer, the turns in GTA's layout, and all that the agent emitted."""
        row = super().row(episode)
        query, answer = self.queries[episode.job.task], answer_of_episode(episode)
        t3 = gta_t3(answer, query.gold)
        own = {"kind": query.kind, "answer": answer, "counted": t3.counted, self.averaged: float(t3.correct)}
        if row["score"] is not None:
            row |= {"score": own[self.averaged], "success": bool(t3.correct)}
        return {**row, **own, "turns": _turns(episode, query, answer), "emitted": emitted_in_episode(episode)}

    # --- figures ---

    def figures(self, rows: Sequence[Row]) -> Mapping[str, Estimate]:
        """All of them; those that need tools of GTA's names only where these were offered."""
        known = [row for row in rows if row["kind"] != "unknown"]
        called = [row for row in rows if self.queries[row["task"]].calls]  # with a reference to compare with
        shares = {
            "gta_t3.answer_accuracy": [share_of([self._t3(row)]) for row in known],
            "gta_t3.answer_accuracy_all": [Share(share_of([self._t3(row)]).hits, 1) for row in known],
            "gta_t3.tool_accuracy_task": [tool_acc_task([self._episode(row)], self._offered()) for row in called],
            "gta_t3.code_exec_step": [code_exec_step([self._episode(row)]) for row in rows],
            "gta_t3.code_exec_task": [code_exec_task([self._episode(row)]) for row in rows],
            "gta_official.answer_accuracy": [self._official(row).ans_acc for row in known],
        }
        if self.tools == "gta":
            shares["gta_official.answer_accuracy_with_images"] = [
                self._official(row).ans_acc_with_images for row in known
            ]
        found = {f"val/gta/{name}": pooled(of, self.draws, self.seed) for name, of in shares.items()}
        return {**found, **(self._chosen(rows) if self.tools == "gta" else {})}

    def result(self, rows: Sequence[Row], beside: Mapping[str, Any]) -> BenchmarkResult:
        """With what was left out of which figure."""
        judged = [row for row in rows if row["score"] is not None]
        unknown = sum(row["kind"] == "unknown" for row in judged)
        notes = [
            "ToolAcc and CodeExec have no published script: docs/tool_benchmarks.md defines ours (tool_accuracy_task, code_exec_step)"
        ]
        if unknown:
            notes.append(f"{unknown:,} queries have no gold in {self.source}: they are in no answer accuracy")
        if self.similarity is None and any(row["kind"] == "subjective" for row in judged):
            notes.append(
                "gta_official.answer_accuracy is not known without benchmark.embedder: some golds are sentences"
            )
        return plain_result(super().result(rows, beside), notes)

    def _t3(self, row: Row) -> Verdict:
        return gta_t3(row["answer"], self.queries[row["task"]].gold)

    def _official(self, row: Row) -> Any:
        query = self.queries[row["task"]]
        return episode_figures([GtaTask(query.dialogs, query.gold, row["turns"])], self.similarity)

    def _episode(self, row: Row) -> ToolEpisode:
        return ToolEpisode(emitted(row), [name for name, _ in self.queries[row["task"]].calls])

    def _offered(self) -> frozenset[str]:
        """The tools that there are, as T3's: GTA's stand for T3's that do their work."""
        return T3_TOOLS if isinstance(self.tools, str) else frozenset(self.tools) | T3_TOOLS

    def _chosen(self, rows: Sequence[Row]) -> dict[str, Estimate]:
        """The owner's P, O, L and C."""
        found = {}
        for category in CATEGORIES:
            chosen = [self._official(row).selection[category] for row in rows]
            columns = {name: [getattr(one, name) for one in chosen] for name in ("hits", "predicted", "reference")}
            found[f"val/gta/gta_official.f1_{category}"] = over_queries(columns, _f1, self.draws, self.seed)
        return found


def _f1(sums: Sums, weights: np.ndarray) -> np.ndarray:
    """As `metrics.gta.Selection.f1`, of many weightings at once: (W, Q) weights -> (W,)."""
    hits, predicted, reference = (weights @ sums[name] for name in ("hits", "predicted", "reference"))
    precision, recall = (
        hits / (predicted + 1e-5),
        np.divide(hits, reference, out=np.zeros_like(hits), where=reference > 0),
    )
    return 2 * precision * recall / (precision + recall + 1e-5)


def _turns(episode: Episode, query: GtaQuery, answer: str | None) -> list[dict[str, Any]]:
    """What was done, as GTA's files have it: calls, with `error` where they failed, then the answer."""
    to_absolute = functools.partial(absolute, root=query.root)
    turns: list[dict[str, Any]] = []
    for action in did_in_episode(episode):
        for call in action["calls"]:
            if call["name"] == "final_answer":
                continue
            arguments = {name: to_absolute(value) for name, value in call["arguments"].items()}
            function = {"name": call["name"], "arguments": arguments}
            turns.append({"role": "assistant", "tool_calls": [{"type": "function", "function": function}]})
            if call["kind"]:
                turns[-1]["error"] = {"type": call["kind"], "msg": action["error"]}
    return turns if answer is None else [*turns, {"role": "assistant", "content": answer}]
