"""GAIA: an agent answers its questions with real tools, and the leaderboard's rule scores the answers, by level.

Of the split `test` nobody but its owner has the answers: predictions are written as the leaderboard takes them, and there is no score.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._played import Row
from tracer1.benchmarks._published import GAIA
from tracer1.benchmarks._result import BenchmarkResult
from tracer1.benchmarks._tool_played import ToolBenchmark
from tracer1.benchmarks._tool_rows import answer_of_episode, calls_of, emitted_in_episode, plain_result, pooled
from tracer1.environments._tools.gaia_questions import GaiaQuestion, read_gaia
from tracer1.environments._tools.sources import gaia_task
from tracer1.errors import ConfigError
from tracer1.interfaces import Environment
from tracer1.metrics.answer_rules import UNCOUNTED, Verdict
from tracer1.metrics.answer_rules.gaia import gaia
from tracer1.metrics.episodes import Estimate
from tracer1.metrics.gaia import LEVELS, GaiaAnswer, gaia_figures
from tracer1.plan_act.episode import Episode


@BENCHMARKS.register("gaia")
@dataclass(kw_only=True)
class GaiaBenchmark(ToolBenchmark):
    """AnsAcc, overall and by level.

    Args:
        source: The release, a split's folder, or its metadata.jsonl, with the attachments beside it.
        split: `validation` (what is published) or `test` (predictions only).
        predictions: Where they are written, in the leaderboard's form; None: nowhere.
        tools: `t3` (the paper's), or names.
        sandbox, limits, backends, cache: Of the environment `tools`.
    """

    source: str
    split: str = "validation"
    predictions: str | None = None
    questions: Mapping[str, GaiaQuestion] = field(init=False, repr=False)

    name: ClassVar[str] = "gaia"
    rule: ClassVar[str] = "gaia"
    rule_says: ClassVar[str] = "the leaderboard's: numbers by value, lists by element, everything else as squeezed text"
    published = GAIA

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tools = self.tools or "t3"
        if self.source is None:
            raise ConfigError("benchmark.source is missing: name the folder of GAIA's release.")
        if self.split == "test" and self.predictions is None:
            raise ConfigError(
                "The split test has no answers here: set benchmark.predictions, where the predictions are to be written."
            )
        self.questions = {question.key: question for question in read_gaia(self.source, self.split)}

    def make_environment(self) -> Environment:
        """A toolbox with its own sandbox."""
        tasks = [gaia_task(question) for question in self.questions.values()]
        return self.environment_of(tasks, self.tools)

    def about(self, environment: Environment) -> Mapping[str, Any]:
        """What was asked, and with which tools."""
        return {
            "split": self.split,
            "questions": len(self.questions),
            **super().about(environment),
        }

    def row(self, episode: Episode) -> dict[str, Any]:
        """With the answer, its level, and what the agent emitted."""
        row = super().row(episode)
        question, answer = self.questions[episode.job.task], answer_of_episode(episode)
        verdict = self._verdict(question, answer)
        own = {
            "level": question.level,
            "answer": answer,
            "counted": verdict.counted,
            self.averaged: float(verdict.correct),
        }
        if row["score"] is not None:
            row |= {"score": own[self.averaged], "success": bool(verdict.correct)}
        return {**row, **own, "calls": calls_of(episode), "emitted": emitted_in_episode(episode)}

    def figures(self, rows: Sequence[Row]) -> Mapping[str, Estimate]:
        """Overall and by level; not known where nobody has the answers."""
        found = {self.headline: pooled([self._share(row) for row in rows], self.draws, self.seed)}
        for level in LEVELS:
            of_level = [self._share(row) for row in rows if row["level"] == level]
            if of_level:
                found[f"{self.headline}.level{level}"] = pooled(of_level, self.draws, self.seed)
        return found

    def result(self, rows: Sequence[Row], beside: Mapping[str, Any]) -> BenchmarkResult:
        """Writes the predictions, too: a line for every question of the split."""
        notes = []
        if self.predictions is not None:
            path = Path(self.predictions)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in self._submission(rows)), encoding="utf-8")
            notes.append(f"predictions, as the leaderboard takes them: {path}")
        hidden = sum(not row["counted"] for row in rows)
        if hidden:
            notes.append(f"{hidden:,} questions have no answer in {self.source}: there is no score for them")
        return plain_result(super().result(rows, beside), notes)

    def _submission(self, rows: Sequence[Row]) -> list[str]:
        by_task = {row["task"]: row for row in rows}
        lines = []
        for key in self.questions:
            row = by_task.get(key, {})
            line = {
                "task_id": key,
                "model_answer": row.get("answer") or "",
                "reasoning_trace": "\n".join(row.get("calls", ())),
            }
            lines.append(json.dumps(line, ensure_ascii=False))
        return lines

    @staticmethod
    def _verdict(question: GaiaQuestion, answer: str | None) -> Verdict:
        return UNCOUNTED if question.answer is None else gaia(answer, question.answer)

    def _share(self, row: Row) -> Any:
        answer = GaiaAnswer(row["level"], self._verdict(self.questions[row["task"]], row["answer"]))
        return gaia_figures([answer])["ans_acc"]
